# Installs what the tests need, only what is missing: system packages by apt-get, the clients
# themselves from package-lock.json and requirements.txt. Sourced by ./test.

venv=$PWD/.test/venv
clients=tests/clients

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
  command -v redis-server >/dev/null || echo redis-server
  ls /usr/lib/*/faketime/libfaketime.so.1 >/dev/null 2>&1 || echo libfaketime
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

install_python() {
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$clients/requirements.txt"
}

install_clients() {
  install_packages
  mkdir -p .test
  unless_done "$clients/node_modules/.installed" "$clients/package-lock.json" -- install_npm
  unless_done "$venv/.installed" "$clients/requirements.txt" -- install_python
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
