#!/usr/bin/env bash
# Runs the units of Redis 7's own test suite that apply to Breccia, against a node that it
# starts. The suite is fetched from Debian's source package into the cache and is no part
# of this repository. `tools/redis-suite.skip` lists the tests left out, and why.
#
#   [NODES=3] tools/redis-suite.sh [unit ...]     default: all units that must pass
#
# With several nodes they are a cluster of processes, and the suite talks to the last of them.
set -euo pipefail
cd "$(dirname "$0")/.."
. tools/env.sh

units=("$@")
[ "${#units[@]}" -gt 0 ] || units=(unit/type/string unit/type/incr unit/keyspace unit/expire
  unit/scan unit/hyperloglog unit/protocol)
binary=${CARGO_TARGET_DIR:-target}/release/breccia
[ -x "$binary" ] || { echo "redis-suite: build first: make build" >&2; exit 1; }
binary=$(realpath "$binary")

suite=$breccia_cache/redis-suite
if [ ! -x "$suite/runtest" ]; then
  tools/setup.sh tcl:tclsh xz-utils:xz
  work=$(mktemp -d)
  # A source list of its own: the machine's stays as it is.
  release=$(. /etc/os-release && echo "$VERSION_CODENAME")
  echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian $release main" >"$work/sources.list"
  mkdir -p "$work/lists/partial"
  options=(-o "Dir::Etc::SourceList=$work/sources.list" -o "Dir::Etc::SourceParts=/dev/null"
    -o "Dir::State::Lists=$work/lists")
  apt-get "${options[@]}" update -qq
  (cd "$work" && apt-get "${options[@]}" source --download-only -qq redis)
  mkdir -p "$work/redis"
  tar -xf "$work"/redis_*.orig.tar.gz -C "$work/redis" --strip-components=1
  rm -rf "$suite"
  mkdir -p "$(dirname "$suite")"
  mv "$work/redis" "$suite"
  rm -rf "$work"
fi
# The suite looks for the programs of its own build; it only ever runs the client.
tools/setup.sh redis-tools:redis-cli redis-tools:redis-benchmark
mkdir -p "$suite/src"
for program in redis-cli redis-benchmark redis-server; do
  ln -sf "$(command -v "$program" || command -v redis-cli)" "$suite/src/$program"
done

data=$(mktemp -d)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null; wait; rm -rf "$data"' EXIT
join=()
for node in $(seq "${NODES:-1}"); do
  log=$data/node-$node.log
  "$binary" serve --data "$data/node-$node" --http 127.0.0.1:0 --resp 127.0.0.1:0 \
    --peer 127.0.0.1:0 --log warn "${join[@]}" >"$log" 2>&1 &
  pids+=($!)
  until grep -qx ready "$log"; do
    kill -0 $! 2>/dev/null || { echo "redis-suite: a node did not start" >&2; cat "$log" >&2; exit 1; }
    sleep 0.1
  done
  [ "$node" -gt 1 ] || join=(--join "$(sed -n 's/^peer //p' "$log")")
done
port=$(sed -n 's/^resp .*:\([0-9]*\)$/\1/p' "$log")

skip=$(mktemp)
grep -vE '^(#|$)' tools/redis-suite.skip >"$skip"
arguments=()
for unit in "${units[@]}"; do arguments+=(--single "$unit"); done
cd "$suite"
./runtest --host 127.0.0.1 --port "$port" --singledb --cluster-mode --ignore-encoding \
  --ignore-digest --skipfile "$skip" \
  --tags "-slow -needs:debug -needs:repl -needs:config-maxmemory -needs:save -needs:reset -needs:config-resetstat -needs:pfdebug" \
  "${arguments[@]}"
