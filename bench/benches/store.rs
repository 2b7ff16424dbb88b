//! `cargo bench` in this folder: each group compares raw RocksDB with the store and the node.

use std::hint::black_box;
use std::time::Duration;

use breccia_bench::{
    MEMORY_BYTES, ROWS, Store, key, load_node, load_raw, node, raw, raw_writes, value,
};
use breccia_node::FsyncPolicy;
use breccia_store::{Durability, ScanRange, TableReader};
use breccia_types::Timestamp;
use breccia_types::kv::Scan;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use rocksdb::{IteratorMode, WriteBatch};
use tokio::runtime::Runtime;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// A fixed walk through all rows in no order.
fn walk() -> impl FnMut() -> u64 {
    let mut at = 0;
    move || {
        at = (at + 7_368_787) % ROWS;
        at
    }
}

fn reads(c: &mut Criterion) {
    let home = tempfile::tempdir().expect("a directory");
    let runtime = runtime();
    let raw = raw(&home.path().join("raw"));
    load_raw(&raw);
    let store = Store::open(&home.path().join("store"));
    store.load();
    let (node, table) = runtime.block_on(node(&home.path().join("node"), FsyncPolicy::Never));
    runtime.block_on(load_node(&node, &table));
    let now = Timestamp::from_micros(2);

    let mut group = c.benchmark_group("get");
    group.throughput(Throughput::Elements(1));
    let mut next = walk();
    group.bench_function("raw", |b| {
        b.iter(|| black_box(raw.get(key(next())).expect("reads").expect("a row")));
    });
    group.bench_function("store", |b| {
        let reader = TableReader::new(store.shard.as_ref(), store.table.view(), now);
        b.iter(|| black_box(reader.get(&key(next())).expect("reads").expect("a row")));
    });
    group.bench_function("node", |b| {
        b.iter(|| {
            let row = runtime.block_on(node.get(&table, &key(next())));
            black_box(row.expect("reads").expect("a row"))
        });
    });
    group.finish();

    let mut group = c.benchmark_group("scan of 1000 rows");
    group.throughput(Throughput::Elements(1_000));
    group.bench_function("raw", |b| {
        b.iter(|| black_box(raw.iterator(IteratorMode::Start).take(1_000).map(Result::unwrap).count()));
    });
    group.bench_function("store", |b| {
        let reader = TableReader::new(store.shard.as_ref(), store.table.view(), now);
        b.iter(|| black_box(reader.rows(&ScanRange::default()).take(1_000).map(Result::unwrap).count()));
    });
    group.bench_function("node", |b| {
        b.iter(|| {
            let scan = Scan { limit: 1_000, ..Scan::default() };
            black_box(runtime.block_on(node.scan(&table, scan)).expect("scans").rows.len())
        });
    });
    group.finish();
    assert!(MEMORY_BYTES > 0);
}

fn writes(c: &mut Criterion) {
    let home = tempfile::tempdir().expect("a directory");
    let runtime = runtime();
    let raw = raw(&home.path().join("raw"));
    let store = Store::open(&home.path().join("store"));
    let (synced, table) = runtime.block_on(node(&home.path().join("synced"), FsyncPolicy::Always));
    let (unsynced, _) = runtime.block_on(node(&home.path().join("unsynced"), FsyncPolicy::Never));
    let mut next = walk();

    let mut group = c.benchmark_group("put, synced");
    group.throughput(Throughput::Elements(1));
    let options = raw_writes(true);
    group.bench_function("raw", |b| {
        b.iter(|| {
            let row = next();
            raw.put_opt(key(row), value(row), &options).expect("writes");
        });
    });
    group.bench_function("store", |b| {
        b.iter(|| {
            let row = next();
            store.put(row..=row, Durability::Synced);
        });
    });
    group.bench_function("node", |b| {
        b.iter(|| {
            let row = next();
            let put = table.put(key(row), value(row));
            runtime.block_on(synced.write(&table, put, None)).expect("writes")
        });
    });
    group.finish();

    let mut group = c.benchmark_group("put, not synced");
    group.throughput(Throughput::Elements(1));
    group.bench_function("raw", |b| {
        b.iter(|| {
            let row = next();
            raw.put(key(row), value(row)).expect("writes");
        });
    });
    group.bench_function("store", |b| {
        b.iter(|| {
            let row = next();
            store.put(row..=row, Durability::Buffered);
        });
    });
    group.bench_function("node", |b| {
        b.iter(|| {
            let row = next();
            let put = table.put(key(row), value(row));
            runtime.block_on(unsynced.write(&table, put, None)).expect("writes")
        });
    });
    group.finish();

    let mut group = c.benchmark_group("put of 100, not synced");
    group.throughput(Throughput::Elements(100));
    group.bench_function("raw", |b| {
        b.iter(|| {
            let mut batch = WriteBatch::default();
            for row in (0..100).map(|_| next()) {
                batch.put(key(row), value(row));
            }
            raw.write(&batch).expect("writes");
        });
    });
    group.bench_function("store", |b| {
        b.iter(|| store.put((0..100).map(|_| next()), Durability::Buffered));
    });
    group.bench_function("node", |b| {
        b.iter(|| {
            let puts = (0..100).map(|_| next()).map(|row| table.put(key(row), value(row)));
            runtime.block_on(unsynced.write_many(&table, puts.collect())).len()
        });
    });
    group.finish();
}

fn config() -> Criterion {
    Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(4))
}

criterion_group! { name = benches; config = config(); targets = reads, writes }
criterion_main!(benches);
