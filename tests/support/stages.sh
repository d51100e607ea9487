# Stages: a heading, a time, a count, and a summary at the end. Sourced by ./test.

keep_going=false
client_report=$(mktemp)
results=()
passed=0
failed=0
trap 'rm -f "$client_report"' EXIT

# Runs a command as a stage, in a subshell; after a failure the run ends, unless it is to keep going.
stage() {
  local name=$1 start=$SECONDS status
  shift
  printf '\n=== %s ===\n' "$name"
  set +e # not `|| status=$?`: that would switch `set -e` off inside the stage
  (
    set -e
    "$@"
  )
  status=$?
  set -e
  local took=$((SECONDS - start))
  if ((status == 0)); then
    passed=$((passed + 1))
    results+=("ok      ${took} s  $name")
    printf -- '--- %s: ok, %d s\n' "$name" "$took"
    return
  fi
  failed=$((failed + 1))
  results+=("FAILED  ${took} s  $name")
  printf -- '--- %s: FAILED with exit code %d, %d s\n' "$name" "$status" "$took"
  if [[ $keep_going == false ]]; then
    summary
  fi
}

# Runs a command, and fails when no line of its output matches `what`.
says() {
  local what=$1 output status=0
  shift
  output=$(mktemp)
  "$@" 2>&1 | tee "$output" || status=$?
  if ((status == 0)) && ! grep -Eq "$what" "$output"; then
    echo "test: nothing ran: no line of the output matches '$what'" >&2
    status=1
  fi
  rm -f "$output"
  return "$status"
}

summary() {
  local cases_passed=0 cases_failed=0
  if [[ -s $client_report ]]; then
    read -r cases_passed cases_failed <"$client_report"
  fi
  printf '\n=== summary ===\n'
  printf '%s\n' "${results[@]}"
  echo "$((passed + cases_passed)) passed, $((failed + cases_failed)) failed"
  exit $((failed > 0))
}
