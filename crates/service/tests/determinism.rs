//! Replicas apply the same entries in different portions, are restarted and crash at different
//! moments, and compact when they like. They must reply the same and end with the same bytes.

#![allow(clippy::expect_used, clippy::indexing_slicing, reason = "tests fail by panicking")]

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use breccia_monoid::Monoid;
use breccia_service::kv::{self, KvService};
use breccia_service::machine::read_durable_applied;
use breccia_service::strings::{self, StringService};
use breccia_service::{Service, Services, ShardMachine};
use breccia_store::{
    Bounds, Durability, Engine, IfMissing, MemoryEngine, RetentionRules, RocksEngine, RocksOptions,
    key, row,
};
use breccia_types::kv::{Expiry, KvWrite};
use breccia_types::limits::ENTRY_WRITTEN_BYTES_MAX;
use breccia_types::strings::{ExpireCondition, ExpiryChange, SetCondition, StringWrite};
use breccia_types::table::{RowKind, TableRef};
use breccia_types::{
    Command, Entry, LogIndex, Outcome, RequestId, ServiceId, ShardId, TableId, Timestamp,
};
use bytes::Bytes;
use proptest::prelude::*;
use tempfile::TempDir;

const SHARD: ShardId = ShardId::new(3);
const PLAIN: TableRef = TableRef { id: TableId::new(20), kind: RowKind::Plain };
const VERSIONED: TableRef = TableRef { id: TableId::new(21), kind: RowKind::Versioned };
const COUNTS: TableRef = TableRef { id: TableId::new(22), kind: RowKind::Monoid };
/// Here every row lives for the same time: expiries are a monoid table's, not a row's.
const FADING: TableRef = TableRef { id: TableId::new(23), kind: RowKind::Monoid };
/// Entries come up to so many seconds after each other, and rows expire within twice of that.
const SECONDS: i64 = 20;

/// What befalls a replica after it has applied a portion.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Nothing,
    Flush,
    Restart,
    /// Volatile writes are lost, and the log repeats them.
    Crash,
    /// What has expired by the durable stamp is dropped.
    Compact,
}

/// What a replica has replied, entry by entry, and what it holds.
#[derive(Debug, PartialEq, Eq)]
struct Ended {
    outcomes: Vec<Vec<Outcome>>,
    rows: Vec<(Vec<u8>, Bytes)>,
}

enum Bed {
    Memory(Arc<MemoryEngine>),
    Rocks { engine: Option<RocksEngine>, directory: TempDir },
}

fn open(path: &Path) -> RocksEngine {
    let new = IfMissing::Create;
    let options = RocksOptions { memory_bytes: 64 << 20, background_jobs: 2, new };
    RocksEngine::open(path, &options, Arc::new(RetentionRules::default())).expect("opens")
}

/// Copies an open database. Whether nothing was removed meanwhile, so that the copy is what a
/// crash leaves.
fn try_copy(from: &Path, to: &Path) -> bool {
    let names = |path| {
        let entries = std::fs::read_dir(path).expect("lists");
        entries.map(|entry| entry.expect("an entry").file_name()).collect::<BTreeSet<_>>()
    };
    let before = names(from);
    let copied = before.iter().all(|name| std::fs::copy(from.join(name), to.join(name)).is_ok());
    let is_whole = copied && names(from) == before;
    if !is_whole {
        std::fs::remove_dir_all(to).expect("removes");
        std::fs::create_dir(to).expect("makes");
    }
    is_whole
}

impl Bed {
    fn rocks() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        Self::Rocks { engine: Some(open(directory.path())), directory }
    }

    fn engine(&self) -> &dyn Engine {
        match self {
            Self::Memory(engine) => engine.as_ref(),
            Self::Rocks { engine, .. } => engine.as_ref().expect("open"),
        }
    }

    fn machine(&self) -> ShardMachine {
        let services = [Arc::new(KvService) as Arc<dyn Service>, Arc::new(StringService) as _];
        let shard = self.engine().open_shard(SHARD).expect("a shard");
        ShardMachine::open(shard, Services::new(services)).expect("opens")
    }

    fn suffer(&mut self, fate: Fate) {
        match fate {
            Fate::Nothing => {}
            Fate::Flush => self.engine().flush().expect("flushes"),
            Fate::Restart => self.restart(),
            Fate::Crash => self.crash(),
            Fate::Compact => {
                let shard = self.engine().open_shard(SHARD).expect("a shard");
                shard.flush().expect("flushes");
                let durable = read_durable_applied(shard.as_ref()).expect("reads");
                shard.advance_horizon(durable.stamp);
                shard.compact(None);
            }
        }
    }

    fn restart(&mut self) {
        if let Self::Rocks { engine, directory } = self {
            drop(engine.take());
            *engine = Some(open(directory.path()));
        }
    }

    fn crash(&mut self) {
        match self {
            Self::Memory(engine) => engine.crash(),
            Self::Rocks { engine, directory } => {
                let left = tempfile::tempdir().expect("a directory");
                while !try_copy(directory.path(), left.path()) {}
                *engine = Some(open(left.path()));
                *directory = left;
            }
        }
    }

    /// Applies all entries in portions, each of which ends in its fate.
    fn run(mut self, entries: &[Entry], portions: &[(usize, Fate)]) -> Ended {
        let mut outcomes: Vec<Vec<Outcome>> = Vec::new();
        let mut machine = self.machine();
        for (length, fate) in portions.iter().chain(&[(entries.len(), Fate::Nothing)]) {
            let next = usize::try_from(machine.applied().index.get()).expect("small");
            let end = entries.len().min(next + length);
            if next < end {
                let mut prepared = machine.prepare(&entries[next..end]).expect("prepares");
                let batch = std::mem::take(&mut prepared.batch);
                self.engine().write(&[(SHARD, batch)], Durability::Volatile).expect("writes");
                for (at, outcome) in (next..).zip(machine.commit(prepared)) {
                    match outcomes.get(at) {
                        Some(first) => assert_eq!(*first, outcome, "entry {at}, repeated"),
                        None => outcomes.push(outcome),
                    }
                }
            }
            if !matches!(fate, Fate::Nothing) {
                drop(machine);
                self.suffer(*fate);
                machine = self.machine();
            }
        }
        assert_eq!(outcomes.len(), entries.len());
        Ended { outcomes, rows: self.rows(machine.applied().stamp) }
    }

    /// The shard's bytes, but for rows that a compaction may have dropped.
    fn rows(&self, now: Timestamp) -> Vec<(Vec<u8>, Bytes)> {
        let shard = self.engine().open_shard(SHARD).expect("a shard");
        let mut cursor = shard.cursor(Bounds { lower: Vec::new(), upper: vec![0xff; 8] });
        let mut rows = Vec::new();
        cursor.seek_to_first();
        while let Some((raw, stored)) = cursor.item() {
            let is_own = key::table_of(raw) == Some(TableId::default());
            if is_own || !row::decode_head(stored).expect("a row").is_expired(now) {
                rows.push((raw.to_vec(), Bytes::copy_from_slice(stored)));
            }
            cursor.next();
        }
        cursor.status().expect("reads to the end");
        rows
    }
}

fn instant() -> impl Strategy<Value = Timestamp> + Clone {
    (0..SECONDS * 30).prop_map(|seconds| Timestamp::from_micros(seconds * 1_000_000))
}

fn name() -> impl Strategy<Value = Bytes> {
    prop::sample::select(vec!["a", "b", "c", "d"]).prop_map(Bytes::from)
}

fn value() -> impl Strategy<Value = Bytes> {
    prop::sample::select(vec!["1", "2", "40", "x"]).prop_map(Bytes::from)
}

fn expiry() -> impl Strategy<Value = Expiry> {
    prop_oneof![
        Just(Expiry::Never),
        (0..2 * SECONDS.unsigned_abs()).prop_map(|s| Expiry::After(Duration::from_secs(s))),
        instant().prop_map(Expiry::At),
    ]
}

fn kv_single() -> impl Strategy<Value = KvWrite> {
    let version = prop::option::of(instant());
    let range = (name(), prop::option::of(name()));
    prop_oneof![
        4 => (name(), value(), expiry()).prop_map(|(key, value, expiry)| KvWrite::Put {
            table: PLAIN, key, value, expiry, version: None
        }),
        4 => (name(), value(), version.clone()).prop_map(|(key, value, version)| KvWrite::Put {
            table: VERSIONED, key, value, expiry: Expiry::Never, version
        }),
        2 => name().prop_map(|key| KvWrite::Delete {
            table: PLAIN, key, expiry: Expiry::Never, version: None
        }),
        2 => (name(), version).prop_map(|(key, version)| KvWrite::Delete {
            table: VERSIONED, key, expiry: Expiry::Never, version
        }),
        1 => range.prop_map(|(from, to)| KvWrite::DeleteRange { table: PLAIN, from, to }),
        4 => (name(), prop::option::of(value()), prop::option::of(value()), expiry()).prop_map(
            |(key, expected, new, expiry)| KvWrite::CompareAndSet {
                table: PLAIN, key, expected, new, expiry
            }
        ),
        4 => (name(), any::<bool>()).prop_map(|(key, fades)| {
            let count: Monoid = "count".parse().expect("a monoid");
            let operand = Bytes::from(count.parse_operand(b"1").expect("an operand"));
            let lives = Duration::from_secs(SECONDS.unsigned_abs());
            let expiry = if fades { Expiry::After(lives) } else { Expiry::Never };
            let table = if fades { FADING } else { COUNTS };
            KvWrite::Merge { table, key, operand, expiry }
        }),
    ]
}

fn kv_write() -> impl Strategy<Value = Bytes> {
    let table = prop::sample::select(vec![PLAIN, VERSIONED, COUNTS, FADING]);
    let write = prop_oneof![
        20 => kv_single(),
        4 => prop::collection::vec(kv_single(), 0..4).prop_map(KvWrite::Batch),
        1 => table.prop_map(|table| KvWrite::DropTable { table }),
    ];
    write.prop_map(|write| kv::codec::encode_write(&write))
}

fn string_write() -> impl Strategy<Value = Bytes> {
    let change = prop_oneof![
        Just(ExpiryChange::Clear),
        Just(ExpiryChange::Keep),
        instant().prop_map(ExpiryChange::At)
    ];
    let condition = prop::sample::select(vec![
        SetCondition::Always,
        SetCondition::IfAbsent,
        SetCondition::IfPresent,
    ]);
    let write = prop_oneof![
        6 => (name(), value(), condition, change.clone(), any::<bool>()).prop_map(
            |(key, value, condition, expiry, return_previous)| StringWrite::Set {
                key, value, condition, expiry, return_previous
            }
        ),
        4 => (name(), -5..5_i64).prop_map(|(key, by)| StringWrite::Increment { key, by }),
        2 => (name(), value()).prop_map(|(key, by)| StringWrite::IncrementFloat { key, by }),
        2 => (name(), value()).prop_map(|(key, value)| StringWrite::Append { key, value }),
        2 => name().prop_map(|key| StringWrite::GetDelete { key }),
        2 => (name(), change).prop_map(|(key, expiry)| StringWrite::GetExpire { key, expiry }),
        4 => (name(), instant(), any::<[bool; 4]>()).prop_map(
            |(key, at, [if_none, if_some, if_later, if_earlier])| StringWrite::Expire {
                key,
                at,
                condition: ExpireCondition { if_none, if_some, if_later, if_earlier },
            }
        ),
        1 => name().prop_map(|key| StringWrite::Persist { key }),
        2 => (name(), name(), any::<bool>()).prop_map(|(from, to, only_if_absent)| {
            StringWrite::Rename { from, to, only_if_absent }
        }),
        2 => (name(), name(), any::<bool>()).prop_map(|(from, to, replace)| {
            StringWrite::Copy { from, to, replace }
        }),
        2 => (name(), prop::collection::vec(value(), 0..3)).prop_map(|(key, elements)| {
            StringWrite::SketchAdd { key, elements }
        }),
        1 => (name(), prop::collection::vec(name(), 0..3)).prop_map(|(destination, sources)| {
            StringWrite::SketchMerge { destination, sources }
        }),
        1 => Just(StringWrite::Flush),
    ];
    write.prop_map(|write| strings::codec::encode_write(&write))
}

fn command() -> impl Strategy<Value = Command> {
    let request = prop_oneof![3 => Just(None), 1 => (0..8_u8).prop_map(Some)];
    let what = prop_oneof![
        10 => kv_write().prop_map(|payload| (kv::SERVICE_ID, payload)),
        10 => string_write().prop_map(|payload| (strings::SERVICE_ID, payload)),
        1 => prop::collection::vec(any::<u8>(), 0..8)
            .prop_map(|garbage| (kv::SERVICE_ID, Bytes::from(garbage))),
        1 => Just((ServiceId::new(99), Bytes::new())),
    ];
    (request, what).prop_map(|(request, (service, payload))| {
        let request_id = request.map(|id| RequestId::new([id; 16]));
        Command { service, request_id, payload }
    })
}

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let entry = (1..SECONDS, prop::collection::vec(command(), 0..4));
    prop::collection::vec(entry, 1..40).prop_map(|entries| {
        let mut seconds = 0;
        let numbered = (1..).zip(entries).map(|(index, (pause, commands))| {
            seconds += pause;
            let stamp = Timestamp::from_micros(seconds * 1_000_000);
            Entry { index: LogIndex::new(index), stamp, commands }
        });
        numbered.collect()
    })
}

fn portions() -> impl Strategy<Value = Vec<(usize, Fate)>> {
    let fate = prop::sample::select(vec![
        Fate::Nothing,
        Fate::Flush,
        Fate::Restart,
        Fate::Crash,
        Fate::Compact,
    ]);
    prop::collection::vec((1..7_usize, fate), 0..12)
}

proptest! {
    #[test]
    fn replies_and_bytes_depend_on_the_entries_alone(
        entries in entries(),
        portions in portions(),
    ) {
        let one_by_one = vec![(1, Fate::Nothing); entries.len()];
        let expected = Bed::Memory(Arc::default()).run(&entries, &one_by_one);
        let in_memory = Bed::Memory(Arc::default()).run(&entries, &portions);
        prop_assert_eq!(&in_memory, &expected);
        let on_disk = Bed::rocks().run(&entries, &portions);
        prop_assert_eq!(&on_disk, &expected);
    }
}

fn asked(request: u8, write: &StringWrite) -> Command {
    let request_id = Some(RequestId::new([request; 16]));
    let payload = strings::codec::encode_write(write);
    Command { service: strings::SERVICE_ID, request_id, payload }
}

/// A command of a few bytes may write or return millions: `SETRANGE`, `COPY`, `GETDEL`. What
/// an entry may do of that is bounded, and what it leaves out may be sent again.
#[test]
fn an_entry_that_grows_too_much_is_cut_at_the_same_command_by_every_replica() {
    let key = |name: &'static str| Bytes::from_static(name.as_bytes());
    let offset = u64::try_from(ENTRY_WRITTEN_BYTES_MAX / 3).expect("small");
    let grow = StringWrite::SetRange { key: key("a"), offset, value: key("x") };
    let copy = |to| StringWrite::Copy { from: key("a"), to: key(to), replace: false };
    let take = |from| StringWrite::GetDelete { key: key(from) };
    let portions = [
        vec![asked(1, &grow), asked(2, &copy("b")), asked(3, &copy("c")), asked(4, &copy("d"))],
        vec![asked(5, &take("b")), asked(6, &take("c"))],
        vec![asked(4, &copy("d")), asked(1, &grow)],
        vec![asked(6, &take("c"))],
    ];
    let entries: Vec<Entry> = (1_u64..)
        .zip(portions)
        .map(|(at, commands)| Entry {
            index: LogIndex::new(at),
            stamp: Timestamp::from_micros(i64::try_from(at).expect("small") * 1_000_000),
            commands,
        })
        .collect();
    let one_by_one = vec![(1, Fate::Nothing); entries.len()];
    let ended = Bed::Memory(Arc::default()).run(&entries, &one_by_one);
    let all_at_once = Bed::Memory(Arc::default()).run(&entries, &[]);
    assert!(ended == all_at_once, "differs");
    let is_done: Vec<Vec<bool>> =
        ended.outcomes.iter().map(|of| of.iter().map(Result::is_ok).collect()).collect();
    let (done, left_out) = (true, false);
    let expected: [&[bool]; 4] =
        [&[done, done, done, left_out], &[done, left_out], &[done, done], &[done]];
    assert_eq!(is_done, expected);
}
