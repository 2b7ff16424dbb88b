#!/usr/bin/env bash
# Three nodes of Breccia against three of etcd and a redis-server with two replicas, on loopback on
# this machine. `breccia bench` drives all of them with 100 connections and 100-byte values, rounds
# alternate. All acknowledge a write after an fsync on a majority: Redis with `appendfsync always` on
# all three and `WAIT 1`. The directories are on one disk.
#
#   tools/bench-cluster.sh [rounds] [seconds]      default: 3 rounds of 10 seconds
set -euo pipefail
cd "$(dirname "$0")/.."
. tools/env.sh

rounds=${1:-3}
seconds=${2:-10}
binary=$(realpath "${CARGO_TARGET_DIR:-target}/release/breccia")
work=$(mktemp -d)
pids=()
stop() {
  for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  rm -rf "$work"
}
trap stop EXIT

base=$((20000 + RANDOM % 10000))
for i in 1 2 3; do
  mkdir "$work/redis-$i"
  replica=()
  if [ "$i" != 1 ]; then replica=(--replicaof 127.0.0.1 $((base + 41))); fi
  redis-server --port $((base + 40 + i)) --bind 127.0.0.1 --dir "$work/redis-$i" --save "" \
    --appendonly yes --appendfsync always --auto-aof-rewrite-percentage 0 "${replica[@]}" \
    >"$work/redis-$i.log" 2>&1 &
  pids+=($!)
done
etcd_peers=$(for i in 1 2 3; do printf 'n%d=http://127.0.0.1:%d,' "$i" $((base + 10 + i)); done)
etcd_pids=()
start_etcd() { # anew, with nothing in it
  for pid in "${etcd_pids[@]}"; do kill "$pid" && wait "$pid" || true; done
  etcd_pids=()
  rm -rf "$work"/etcd-?
  for i in 1 2 3; do start_etcd_node "$i"; done
  for i in 1 2 3; do
    for _ in $(seq 300); do
      curl -sf "http://127.0.0.1:$((base + i))/health" >/dev/null && break
      sleep 0.1
    done
  done
}
start_etcd_node() {
  local i=$1
  etcd --name "n$i" --data-dir "$work/etcd-$i" --log-level error --quota-backend-bytes 8589934592 \
    --listen-client-urls "http://127.0.0.1:$((base + i))" \
    --advertise-client-urls "http://127.0.0.1:$((base + i))" \
    --listen-peer-urls "http://127.0.0.1:$((base + 10 + i))" \
    --initial-advertise-peer-urls "http://127.0.0.1:$((base + 10 + i))" \
    --initial-cluster "${etcd_peers%,}" --initial-cluster-state new >"$work/etcd-$i.log" 2>&1 &
  pids+=($!)
  etcd_pids+=($!)
}
start_etcd
for i in 1 2 3; do
  join=()
  if [ "$i" != 1 ]; then join=(--join "127.0.0.1:$((base + 31))"); fi
  "$binary" serve --data "$work/breccia-$i" --http "127.0.0.1:$((base + 20 + i))" \
    --resp 127.0.0.1:0 --peer "127.0.0.1:$((base + 30 + i))" --memory 512MiB "${join[@]}" \
    >"$work/breccia-$i.out" 2>"$work/breccia-$i.log" &
  pids+=($!)
done
for i in 1 2 3; do
  for _ in $(seq 300); do
    grep -q '^ready' "$work/breccia-$i.out" && break
    sleep 0.1
  done
done
# Every shard has three replicas and leaders are spread.
for _ in $(seq 300); do
  "$binary" shards --json --server "127.0.0.1:$((base + 21))" 2>/dev/null | python3 -c '
import json, sys
shards = json.load(sys.stdin)
whole = all(len(s["replicas"]) == 3 and all(r["lag"] == 0 for r in s["replicas"]) for s in shards)
leaders = [s["leader"] for s in shards if s["name"] != "meta"]
sys.exit(not (whole and len(set(leaders)) == 3))' && break
  sleep 0.1
done

for _ in $(seq 300); do
  redis-cli -p $((base + 41)) info replication 2>/dev/null | grep -c 'state=online' | grep -q 2 && break
  sleep 0.1
done

addresses() { # FIRST PORT
  printf '127.0.0.1:%d,127.0.0.1:%d,127.0.0.1:%d' "$1" $(($1 + 1)) $(($1 + 2))
}
ports=$(sed -n 's/^resp .*:\([0-9]*\)$/127.0.0.1:\1/p' "$work"/breccia-*.out | paste -sd,)
breccia=resp+cluster://$ports
breccia_grpc=grpc://$(addresses $((base + 21)))
etcd=etcd://$(addresses $((base + 1)))
redis=resp+wait://127.0.0.1:$((base + 41))

compare() { # WORKLOAD TARGET...
  local targets=()
  for target in "${@:2}"; do targets+=(--target "$target"); done
  "$binary" bench "${targets[@]}" --workload "$1" --connections 100 --records 100000 \
    --rounds "$rounds" --seconds "$seconds" --distribution uniform
}
counters() {
  curl -s "http://127.0.0.1:$((base + 21))/metrics" | grep -E '^breccia_log_(commands|entries|fsyncs)_total'
}

compare w "$etcd" "$breccia"
counters
compare w "$redis" "$breccia"
compare w "$etcd" "$breccia_grpc"
# etcd reads at half its speed after many writes, until it is started again.
start_etcd
compare c "$etcd" "$breccia"
start_etcd
compare c "$etcd" "$breccia_grpc"
