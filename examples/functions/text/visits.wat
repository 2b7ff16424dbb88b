;; A write function: counts the calls on a key, in eight bytes, little endian, and returns them.
(module
  (import "breccia" "get" (func $get (param i32 i32) (result i64)))
  (import "breccia" "put" (func $put (param i32 i32 i32 i32)))

  ;; Memory, and an allocator that gives nothing back: an instance of a read or write function
  ;; lives for one call, and one of a reduce function is renewed when it has grown.
  (memory (export "memory") 1)
  (global $top (mut i32) (i32.const 1024))
  (func $alloc (export "breccia_alloc") (param $bytes i32) (result i32)
    (local $at i32)
    (local.set $at (global.get $top))
    (global.set $top (i32.and (i32.add (i32.add (global.get $top) (local.get $bytes))
                                       (i32.const 7)) (i32.const -8)))
    (block $fits
      (br_if $fits (i32.le_u (global.get $top) (i32.mul (memory.size) (i32.const 65536))))
      (br_if $fits (i32.ne (i32.const -1)
        (memory.grow (i32.add (i32.const 1) (i32.div_u (local.get $bytes) (i32.const 65536))))))
      unreachable)
    (local.get $at))

  ;; A pointer and a length in one value.
  (func $pack (param $at i32) (param $bytes i32) (result i64)
    (i64.or (i64.shl (i64.extend_i32_u (local.get $at)) (i64.const 32))
            (i64.extend_i32_u (local.get $bytes))))

  ;; The input is: number of keys | length of the first | its bytes | ...
  (func (export "breccia_write") (param $input i32) (param $bytes i32) (result i64)
    (local $key i32) (local $length i32) (local $found i64) (local $value i32)
    (local.set $length (i32.load offset=4 (local.get $input)))
    (local.set $key (i32.add (local.get $input) (i32.const 8)))
    (local.set $found (call $get (local.get $key) (local.get $length)))
    (local.set $value (call $alloc (i32.const 8)))
    (if (i64.ne (local.get $found) (i64.const -1))
      (then (i64.store (local.get $value)
        (i64.load (i32.wrap_i64 (i64.shr_u (local.get $found) (i64.const 32)))))))
    (i64.store (local.get $value) (i64.add (i64.load (local.get $value)) (i64.const 1)))
    (call $put (local.get $key) (local.get $length) (local.get $value) (i32.const 8))
    (call $pack (local.get $value) (i32.const 8))))
