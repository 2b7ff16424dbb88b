#!/usr/bin/env bash
# Compiles RocksDB's C++ once into the cache that tools/env.sh names: 9 to 12 minutes on
# two cores. The library is built by the same crate, features and flags as the project's
# own build, in a scratch package of its own, and appears in the cache in one rename.
set -euo pipefail
cd "$(dirname "$0")/.."
. tools/env.sh

work=$breccia_cache/build-rocksdb.$$
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/src"
touch "$work/src/lib.rs"
cp -r .cargo "$work/.cargo"
cp rust-toolchain.toml "$work/" 2>/dev/null || true
cat >"$work/Cargo.toml" <<MANIFEST
[package]
name = "build-rocksdb"
version = "0.0.0"
edition = "2021"

[workspace]

[dependencies]
rust-librocksdb-sys = { version = "=$rocksdb_sys_version", default-features = false, features = ["lz4", "zstd", "bindgen-runtime", "static"] }
MANIFEST

printf 'setup: compiling RocksDB once (about 10 minutes on two cores) into %s\n' "$rocksdb_cache" >&2
(cd "$work" && env -u ROCKSDB_LIB_DIR CARGO_TARGET_DIR="$work/target" cargo build --release --quiet)

out=$(find "$work/target/release/build" -name librocksdb.a -print -quit)
[ -n "$out" ] || { printf 'setup: the build left no librocksdb.a\n' >&2; exit 1; }
headers=$(cd "$work" && cargo metadata --format-version 1 --quiet |
  sed 's/.*"manifest_path":"\([^"]*rust-librocksdb-sys[^"]*\)\/Cargo.toml".*/\1/')
mkdir -p "$work/result"
strip --strip-debug "$out"
cp "$out" "$work/result/"
cp -r "$headers/rocksdb/include" "$work/result/include"
rm -rf "$rocksdb_cache"
mv "$work/result" "$rocksdb_cache"
