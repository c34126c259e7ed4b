#!/usr/bin/env bash
# All tests: on SQLite always; what touches SQL, locks and events again on PostgreSQL when TEST_DATABASE_URL is set.
# The rooms' own tests and the journeys run side by side, for they wait for servers more than they compute. Each part
# has a database, a data folder and, when TEST_REDIS_URL ends with /0, a database of Redis of its own.
#
#   tests/all.sh                   everything
#   tests/all.sh core -k crews     only these, as pytest takes them
set -uo pipefail
cd "$(dirname "$0")/.."

ROOMS=(core settings_app accounts collections_app webhooks realtime backups monitoring cms_project)
RESULTS=test-results
# Whatever the developer's own .env and data say, tests do not see it.
export ENV=development ENV_FILE=
redis="${TEST_REDIS_URL:-}"
names=() processes=()

part() { # name, then what pytest is told
  local name=$1 number=${#names[@]}
  shift
  names+=("$name")
  TEST_REDIS_URL="${redis/%\/0/\/$number}" DATA_DIR="$RESULTS/$name" \
    .venv/bin/python -m pytest "$@" >"$RESULTS/$name.log" 2>&1 &
  processes+=($!)
}

on_postgresql() {
  DATABASE_URL="$TEST_DATABASE_URL" part "$1" -m engine "${@:2}"
}

mkdir -p "$RESULTS"
trap 'kill "${processes[@]}" 2>/dev/null' INT TERM
if [ $# -gt 0 ]; then
  part sqlite "$@"
  [ -z "${TEST_DATABASE_URL:-}" ] || on_postgresql postgresql "$@"
else
  part sqlite-journeys tests
  [ -z "${TEST_DATABASE_URL:-}" ] || on_postgresql postgresql-journeys tests
  part sqlite-rooms "${ROOMS[@]}"
  [ -z "${TEST_DATABASE_URL:-}" ] || on_postgresql postgresql-rooms "${ROOMS[@]}"
fi

failed=0
# What comes next is shown as it goes on; the others meanwhile write theirs down.
for at in "${!names[@]}"; do
  echo "== ${names[$at]}"
  tail -n +1 -f --pid="${processes[$at]}" "$RESULTS/${names[$at]}.log"
  wait "${processes[$at]}" || failed=1
done
exit $failed
