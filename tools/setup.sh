#!/usr/bin/env bash
# Installs what a build lacks and fills the cache with RocksDB's static library.
# Idempotent, asks nothing. Needs cargo, make and a C++ compiler's package source.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'setup: %s\n' "$*" >&2; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null; then sudo -n "$@"; else
    say "cannot install packages: run as root, or install sudo; needed: $*"
    exit 1
  fi
}

packages=()
command -v g++ >/dev/null || packages+=(g++)
has_libclang() {
  # bindgen needs the library and clang's own headers (stddef.h).
  ls /usr/lib/llvm-*/lib/libclang*.so* /usr/lib/x86_64-linux-gnu/libclang-[0-9]*.so* >/dev/null 2>&1 &&
    ls /usr/lib/llvm-*/lib/clang/*/include/stddef.h /usr/lib/clang/*/include/stddef.h >/dev/null 2>&1
}
has_libclang || packages+=(libclang-dev)
for package in "$@"; do # extra packages, named as package:command, or without one
  case $package in
    *:*) command -v "${package#*:}" >/dev/null || packages+=("${package%%:*}") ;;
    *) dpkg -s "$package" >/dev/null 2>&1 || packages+=("$package") ;;
  esac
done

if [ "${#packages[@]}" -gt 0 ]; then
  say "installing ${packages[*]}"
  as_root apt-get update -qq
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${packages[@]}" >&2
fi

. tools/env.sh
if [ -z "${ROCKSDB_LIB_DIR:-}" ]; then tools/build-rocksdb.sh; fi
