# Environment of every build; source it: `. tools/env.sh`.
#
# When the cache holds RocksDB's static library, cargo links it instead of compiling
# RocksDB's C++ again (about 18 CPU-minutes). Without the cache the build still works.

breccia_cache=${BRECCIA_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/breccia}
rocksdb_sys_version=0.49.0+11.12.0
rocksdb_cache=$breccia_cache/rocksdb-$rocksdb_sys_version-lz4-zstd-v1

# Debian's versioned libclang (bindgen finds headers through clang's resource folder).
if [ -z "${LIBCLANG_PATH:-}" ] && [ ! -e /usr/lib/x86_64-linux-gnu/libclang.so ]; then
  for dir in /usr/lib/llvm-*/lib; do
    if ls "$dir"/libclang*.so* >/dev/null 2>&1; then export LIBCLANG_PATH=$dir; fi
  done
fi

if [ -f "$rocksdb_cache/librocksdb.a" ] && [ -d "$rocksdb_cache/include" ]; then
  export ROCKSDB_LIB_DIR=$rocksdb_cache
  export ROCKSDB_INCLUDE_DIR=$rocksdb_cache/include
  export ROCKSDB_STATIC=1
fi
