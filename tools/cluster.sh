#!/usr/bin/env bash
# Starts three nodes as three processes and keeps them until Ctrl-C. Their data and logs lie in
# the folder that is given; the next start finds the data again.
#
#   tools/cluster.sh FOLDER
set -euo pipefail

folder=$1
binary=${CARGO_TARGET_DIR:-target}/release/breccia
declare -A pids=()

stop() {
    trap - EXIT INT TERM
    kill "${pids[@]}" 2>/dev/null || true
    wait
}
trap stop EXIT INT TERM

mkdir -p "$folder"
for node in 1 2 3; do
    shift=$(((node - 1) * 10))
    join=()
    if ((node > 1)); then join=(--join 127.0.0.1:7401); fi
    "$binary" serve --data "$folder/node-$node" \
        --http "127.0.0.1:$((7400 + shift))" --resp "127.0.0.1:$((7379 + node - 1))" \
        --peer "127.0.0.1:$((7401 + shift))" "${join[@]}" \
        >"$folder/node-$node.out" 2>"$folder/node-$node.log" &
    pids[$node]=$!
done

for node in 1 2 3; do
    until grep -qx ready "$folder/node-$node.out"; do
        if ! kill -0 "${pids[$node]}" 2>/dev/null; then
            echo "node $node did not start:" >&2
            tail -n 5 "$folder/node-$node.log" >&2
            exit 1
        fi
        sleep 0.1
    done
    echo "node $node: process ${pids[$node]}," \
        "$(grep -v ready "$folder/node-$node.out" | paste -sd ' ')"
done

cat <<END

Try, in another terminal:
  $binary nodes
  $binary shards --server 127.0.0.1:7410
  redis-cli -p 7379 set greeting hello
  kill -9 ${pids[1]}                  # a node, perhaps the leader of your key
  redis-cli -p 7381 get greeting     # through another one
  $binary doctor --server 127.0.0.1:7420

Logs are in $folder. Ctrl-C ends all nodes.
END
# A node that is killed leaves the others running.
while ((${#pids[@]} > 0)); do
    wait -n || true
    for node in "${!pids[@]}"; do
        if ! kill -0 "${pids[$node]}" 2>/dev/null; then
            unset "pids[$node]"
            echo "node $node has ended; start it again with: $binary serve --data $folder/node-$node" \
                "--http 127.0.0.1:$((7400 + (node - 1) * 10)) --resp 127.0.0.1:$((7378 + node))" \
                "--peer 127.0.0.1:$((7401 + (node - 1) * 10))"
        fi
    done
done
