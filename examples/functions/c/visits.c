// A write function in C: counts the calls on a key, in four bytes, little endian, and returns
// them.
//
//   clang --target=wasm32 -nostdlib -O2 -Wl,--no-entry -o visits.wasm visits.c
//   breccia fn deploy visits visits.wasm

typedef unsigned char byte;
typedef unsigned int u32;
typedef unsigned long long u64;

#define IMPORT(name) __attribute__((import_module("breccia"), import_name(#name)))
#define EXPORT(name) __attribute__((export_name(#name)))

IMPORT(get) u64 get(const byte *key, u32 length);
IMPORT(put) void put(const byte *key, u32 length, const byte *value, u32 value_length);

// Nothing is given back: an instance of a write function lives for one call.
extern byte __heap_base;
static byte *top;

EXPORT(breccia_alloc) byte *breccia_alloc(u32 length) {
  if (!top) top = &__heap_base;
  byte *place = top;
  top += (length + 7) & ~7u;
  u32 pages = __builtin_wasm_memory_size(0);
  u32 needed = ((u32)top + 65535) / 65536;
  if (needed > pages && __builtin_wasm_memory_grow(0, needed - pages) == (u32)-1) __builtin_trap();
  return place;
}

static u32 number_at(const byte *place) {
  return place[0] | place[1] << 8 | place[2] << 16 | (u32)place[3] << 24;
}

// The input is: number of keys | length of the first | its bytes | ...
EXPORT(breccia_write) u64 breccia_write(const byte *input, u32 input_length) {
  u32 length = number_at(input + 4);
  const byte *key = input + 8;
  u64 found = get(key, length);
  u32 count = found == (u64)-1 ? 0 : number_at((const byte *)(u32)(found >> 32));
  byte *value = breccia_alloc(4);
  count += 1;
  for (u32 at = 0; at < 4; at++) value[at] = count >> (8 * at);
  put(key, length, value, 4);
  return (u64)(u32)value << 32 | 4;
}
