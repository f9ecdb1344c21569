#!/bin/sh
# Installs the locked packages when they are missing or belong to another lockfile, then makes sure
# that a Node which can run TypeScript as written is there. Says nothing when nothing is to be done.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
cd "$root"

stamp=node_modules/.sidekey-installed
pinned=node_modules/.bin/node
wanted="$(cksum <package-lock.json) $(uname -m)"

fail() {
  printf 'sidekey: %s\n' "$1" >&2
  exit 1
}

# npm must not run on the Node that it is about to replace: inside npm scripts node_modules/.bin is
# first in PATH.
path_without_project_programs() {
  kept=
  old_ifs=$IFS
  IFS=:
  for entry in $PATH; do
    case $entry in
      */node_modules/.bin) ;;
      *) kept=${kept:+$kept:}$entry ;;
    esac
  done
  IFS=$old_ifs
  printf '%s' "$kept"
}

install() {
  outside_path=$(path_without_project_programs)
  PATH=$outside_path command -v npm >/dev/null 2>&1 ||
    fail "npm is not installed, and the packages are missing or out of date. Install npm 10 or newer, then run this again."
  printf 'sidekey: installing the packages of package-lock.json\n' >&2
  attempt=1
  until PATH=$outside_path npm ci --ignore-scripts --no-audit --no-fund --loglevel=error </dev/null >&2; do
    [ "$attempt" -lt 3 ] ||
      fail "npm ci failed three times; its own message is above. Check the network and package-lock.json, then run this again."
    sleep "$((attempt * ${SIDEKEY_INSTALL_PAUSE:-3}))"
    attempt=$((attempt + 1))
  done
  printf '%s\n' "$wanted" >"$stamp"
}

new_enough() {
  version=${1#v}
  major=${version%%.*}
  rest=${version#*.}
  minor=${rest%%.*}
  case $major$minor in
    '' | *[!0-9]*) return 1 ;;
  esac
  [ "$major" -gt 22 ] || { [ "$major" -eq 22 ] && [ "$minor" -ge 19 ]; }
}

if [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$wanted" ]; then
  install
fi

if "$pinned" -v >/dev/null 2>&1; then
  exit 0
fi
# A pinned Node that cannot run here (another C library) would still win the PATH lookup of npm scripts.
rm -f "$pinned"
outside_path=$(path_without_project_programs)
found=$(PATH=$outside_path node -v 2>/dev/null || true)
new_enough "$found" ||
  fail "needs Node 22.19 or newer; the pinned Node does not run on this machine and the system has ${found:-none}. Install Node 24, then run this again."
