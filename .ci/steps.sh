# The steps of .ci/run. Sourced, not run.
# shellcheck shell=bash

# Runs a command under a heading and prints how long it took. A failure ends the whole run.
step() {
  local title=$1 begun=$SECONDS status=0
  shift
  printf '\n== %s\n' "$title"
  # A subshell of its own keeps `set -e` alive inside functions, which `|| status=$?` would switch off.
  set +e
  (
    set -e
    "$@"
  )
  status=$?
  set -e
  if [ "$status" -ne 0 ]; then
    printf '== %s FAILED with %d after %d s\n' "$title" "$status" "$((SECONDS - begun))"
    exit "$status"
  fi
  printf '== %s took %d s\n' "$title" "$((SECONDS - begun))"
}

# Tries a command that uses the network up to four times, waiting longer each time.
retry() {
  local try
  for try in 1 2 3 4; do
    if "$@"; then return 0; fi
    [ "$try" -eq 4 ] || {
      printf 'try %d of %s failed; again in %d s\n' "$try" "$1" "$((try * 5))"
      sleep "$((try * 5))"
    }
  done
  return 1
}

has_venv() {
  python3 -c 'import ensurepip, venv' 2>/dev/null
}

install_system_programs() {
  local wanted=()
  command -v curl >/dev/null || wanted+=(curl)
  command -v openssl >/dev/null || wanted+=(openssl)
  command -v nghttp >/dev/null || wanted+=(nghttp2-client)
  has_venv || wanted+=(python3 python3-venv)
  command -v go >/dev/null || wanted+=(golang-go)
  command -v cc >/dev/null || wanted+=(gcc libc6-dev)
  if [ "${#wanted[@]}" -eq 0 ]; then
    printf 'curl, openssl, nghttp, python3, go and cc are here\n'
    return
  fi
  printf 'installing %s\n' "${wanted[*]}"
  retry apt-get update -qq
  retry apt-get install -qq -y --no-install-recommends ca-certificates "${wanted[@]}"
}

install_python_clients() {
  if [ ! -x .venv/bin/python ] || ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
    rm -rf .venv
    python3 -m venv .venv
  fi
  retry .venv/bin/python -m pip install --quiet -r test/clients/python/requirements.txt
}

install_go_clients() {
  cd test/clients/go
  retry go mod download
  # Fills the build cache here, where a slow first build costs no test its time limit.
  retry go build -o /dev/null ./...
}
