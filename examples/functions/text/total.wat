;; A reduce function: the sum of values that are whole numbers as text, such as -17. Its state
;; is the sum so far, in eight bytes, little endian. What is no digit is passed over.
(module
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

  (func $state (param $sum i64) (result i64)
    (local $at i32)
    (local.set $at (call $alloc (i32.const 8)))
    (i64.store (local.get $at) (local.get $sum))
    (call $pack (local.get $at) (i32.const 8)))

  ;; The state before the first row is empty.
  (func $sum (param $at i32) (param $bytes i32) (result i64)
    (if (result i64) (i32.eqz (local.get $bytes))
      (then (i64.const 0))
      (else (i64.load (local.get $at)))))

  (func $number (param $at i32) (param $end i32) (result i64)
    (local $digit i32) (local $is_negative i32) (local $number i64)
    (block $over
      (loop $next
        (br_if $over (i32.ge_u (local.get $at) (local.get $end)))
        (local.set $digit (i32.sub (i32.load8_u (local.get $at)) (i32.const 48)))
        (if (i32.eq (local.get $digit) (i32.const -3)) ;; a minus
          (then (local.set $is_negative (i32.const 1))))
        (if (i32.lt_u (local.get $digit) (i32.const 10))
          (then (local.set $number
            (i64.add (i64.mul (local.get $number) (i64.const 10))
                     (i64.extend_i32_u (local.get $digit))))))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $next)))
    (if (result i64) (local.get $is_negative)
      (then (i64.sub (i64.const 0) (local.get $number)))
      (else (local.get $number))))

  ;; The rows are: how many | length of a key | key | length of a value | value | ...
  (func (export "breccia_step")
    (param $state i32) (param $state_bytes i32) (param $rows i32) (param $rows_bytes i32)
    (param $arg i32) (param $arg_bytes i32) (result i64)
    (local $left i32) (local $at i32) (local $end i32) (local $sum i64)
    (local.set $sum (call $sum (local.get $state) (local.get $state_bytes)))
    (local.set $left (i32.load (local.get $rows)))
    (local.set $at (i32.add (local.get $rows) (i32.const 4)))
    (block $over
      (loop $next
        (br_if $over (i32.eqz (local.get $left)))
        (local.set $at (i32.add (i32.add (local.get $at) (i32.const 4))
                                (i32.load (local.get $at))))
        (local.set $end (i32.add (i32.add (local.get $at) (i32.const 4))
                                 (i32.load (local.get $at))))
        (local.set $sum (i64.add (local.get $sum)
          (call $number (i32.add (local.get $at) (i32.const 4)) (local.get $end))))
        (local.set $at (local.get $end))
        (local.set $left (i32.sub (local.get $left) (i32.const 1)))
        (br $next)))
    (call $state (local.get $sum)))

  (func (export "breccia_combine")
    (param $left i32) (param $left_bytes i32) (param $right i32) (param $right_bytes i32)
    (result i64)
    (call $state (i64.add (call $sum (local.get $left) (local.get $left_bytes))
                          (call $sum (local.get $right) (local.get $right_bytes)))))

  ;; The sum as text, written from its last digit on.
  (func (export "breccia_present") (param $at i32) (param $bytes i32) (result i64)
    (local $sum i64) (local $end i32) (local $to i32) (local $is_negative i32)
    (local.set $sum (call $sum (local.get $at) (local.get $bytes)))
    (if (i64.lt_s (local.get $sum) (i64.const 0))
      (then
        (local.set $is_negative (i32.const 1))
        (local.set $sum (i64.sub (i64.const 0) (local.get $sum)))))
    (local.set $end (i32.add (call $alloc (i32.const 24)) (i32.const 24)))
    (local.set $to (local.get $end))
    (loop $next
      (local.set $to (i32.sub (local.get $to) (i32.const 1)))
      (i32.store8 (local.get $to)
        (i32.add (i32.const 48) (i32.wrap_i64 (i64.rem_u (local.get $sum) (i64.const 10)))))
      (local.set $sum (i64.div_u (local.get $sum) (i64.const 10)))
      (br_if $next (i64.ne (local.get $sum) (i64.const 0))))
    (if (local.get $is_negative)
      (then
        (local.set $to (i32.sub (local.get $to) (i32.const 1)))
        (i32.store8 (local.get $to) (i32.const 45))))
    (call $pack (local.get $to) (i32.sub (local.get $end) (local.get $to)))))
