#!/usr/bin/env bash
# Breccia against redis-server on this machine: one tool (redis-benchmark) drives both, rounds
# alternate, medians and ratios are printed. Both acknowledge a write after an fsync.
#
#   tools/bench.sh [rounds]      default: 3; about one minute a round
set -euo pipefail
cd "$(dirname "$0")/.."
. tools/env.sh

rounds=${1:-3}
binary=$(realpath "${CARGO_TARGET_DIR:-target}/release/breccia")
work=$(mktemp -d)
pids=()
stop() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  rm -rf "$work"
}
trap stop EXIT

redis_port=$((20000 + RANDOM % 10000))
mkdir -p "$work/redis"
redis-server --port "$redis_port" --bind 127.0.0.1 --dir "$work/redis" --save "" --appendonly yes \
  --appendfsync always --auto-aof-rewrite-percentage 0 >"$work/redis.log" 2>&1 &
pids+=($!)
"$binary" serve --data "$work/breccia" --http 127.0.0.1:0 --resp 127.0.0.1:0 --peer 127.0.0.1:0 >"$work/breccia.log" 2>&1 &
pids+=($!)
for _ in $(seq 100); do
  grep -q '^ready' "$work/breccia.log" && redis-cli -p "$redis_port" ping >/dev/null 2>&1 && break
  sleep 0.1
done
port=$(sed -n 's/^resp .*:\([0-9]*\)$/\1/p' "$work/breccia.log")
[ -n "$port" ] || { cat "$work/breccia.log" >&2; exit 1; }

measure() { # NAME PORT TEST PIPELINE REQUESTS
  local line
  line=$(redis-benchmark -h 127.0.0.1 -p "$2" -t "$3" -n "$5" -c 50 -P "$4" -d 100 -r 1000000 --csv 2>/dev/null | tail -1)
  # "test","rps","avg","min","p50","p95","p99","max"
  printf '%s\t%s P%s\t%s\n' "$1" "$3" "$4" "$(tr -d '"' <<<"$line" | cut -d, -f2,5,7)" >>"$work/results"
}

for _ in $(seq "$rounds"); do
  for test in "set 1 200000" "get 1 300000" "set 16 600000" "get 16 1500000"; do
    read -r name pipeline requests <<<"$test"
    measure redis "$redis_port" "$name" "$pipeline" "$requests"
    measure breccia "$port" "$name" "$pipeline" "$requests"
  done
done

python3 - "$work/results" <<'PYTHON'
import statistics, sys
runs = {}
for line in open(sys.argv[1]):
    who, test, figures = line.rstrip("\n").split("\t")
    runs.setdefault((test, who), []).append([float(f) for f in figures.split(",")])
print(f"{'test':10} {'redis /s':>10} {'p99 ms':>7} {'breccia /s':>11} {'p99 ms':>7} {'ratio':>6}")
for test in dict.fromkeys(test for test, _ in runs):
    median = {who: [statistics.median(column) for column in zip(*runs[test, who])]
              for who in ("redis", "breccia")}
    (redis, _, redis_p99), (breccia, _, breccia_p99) = median["redis"], median["breccia"]
    print(f"{test:10} {redis:10.0f} {redis_p99:7.2f} {breccia:11.0f} {breccia_p99:7.2f} {breccia / redis:6.2f}")
PYTHON
