//! The bytes on disk. A later version must read what is written here.

use std::sync::Arc;

use breccia_replication::raft::codec::encode_payload;
use breccia_replication::raft::types::{LogEntry, Membership};
use breccia_store::{Bounds, Durability, LogOp, LogStore, MemoryLog, ScanLimits};
use breccia_types::{Command, NodeId, ReplicaId, ServiceId, Timestamp};
use bytes::Bytes;
use openraft::EntryPayload;
use openraft::storage::{RaftLogReader, RaftLogStorage};

use crate::support::{append, blank, entries, group, log_id, open_default, vote};

/// Keys and records, as version 1 writes them.
const FIXTURE: [(&str, &str); 6] = [
    ("000000030000000000000007010000000000000005", "01078f3e5703070500"),
    (
        "000000030000000000000007010000000000000006",
        "016ecf1b4803070601108080f2818389850601ac020003736574",
    ),
    (
        "000000030000000000000007010000000000000007",
        "010290c3c5ac02070702010207080207ffffffffffffffff08ffffffffffffffff",
    ),
    ("00000003000000000000000702", "01a22fa128ac020700"),
    ("00000003000000000000000703", "01620224eb030704"),
    ("00000003000000000000000704", "012b4f5a58030706"),
];

/// The entries 5, 6 and 7, one of each kind.
fn written() -> Vec<LogEntry> {
    let command = Command {
        service: ServiceId::new(300),
        request_id: None,
        payload: Bytes::from_static(b"set"),
    };
    let payload = encode_payload(Timestamp::from_micros(1_700_000_000_000_000), &[command]);
    let voters = [ReplicaId::new(7), ReplicaId::new(8)];
    let nodes = voters.map(|replica| (replica, NodeId::new(u64::MAX)));
    let membership = Membership::new(vec![voters.into()], std::collections::BTreeMap::from(nodes));
    vec![
        blank(3, 5),
        LogEntry { log_id: log_id(3, 6), payload: EntryPayload::Normal(payload) },
        LogEntry {
            log_id: log_id(300, 7),
            payload: EntryPayload::Membership(membership.expect("every voter has a node")),
        },
    ]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal");
    (0..text.len()).step_by(2).map(digits).collect()
}

#[tokio::test]
async fn records_are_written_as_they_ever_were() {
    let store = Arc::new(MemoryLog::default());
    let log = open_default(&store);
    let mut group = group(&log);
    group.purge(log_id(3, 4)).await.expect("purges");
    append(&mut group, written()).await;
    group.save_committed(Some(log_id(3, 6))).await.expect("saves");
    group.save_vote(&vote(300)).await.expect("saves");
    let all = Bounds { lower: vec![], upper: vec![0xff; 32] };
    let limits = ScanLimits { rows_max: usize::MAX, bytes_max: usize::MAX };
    let rows = store.scan(&all, limits).expect("scans");
    let rows: Vec<_> = rows.iter().map(|row| (hex(&row.key), hex(&row.value))).collect();
    let expected: Vec<_> = FIXTURE.map(|(key, value)| (key.into(), value.into())).into();
    assert_eq!(rows, expected);
}

#[tokio::test]
async fn records_of_version_1_are_read() {
    let store = Arc::new(MemoryLog::default());
    let ops = FIXTURE.map(|(key, value)| LogOp::Put { key: unhex(key), value: unhex(value) });
    store.write(&ops, Durability::Synced).expect("writes");
    let log = open_default(&store);
    let mut group = group(&log);
    assert_eq!(entries(&mut group).await, written());
    assert_eq!(group.read_vote().await.expect("reads"), Some(vote(300)));
    assert_eq!(group.read_committed().await.expect("reads"), Some(log_id(3, 6)));
    let state = group.get_log_state().await.expect("reads");
    assert_eq!(state.last_purged_log_id, Some(log_id(3, 4)));
    assert_eq!(state.last_log_id, Some(log_id(300, 7)));
}

#[tokio::test]
async fn a_record_of_an_unknown_version_is_refused() {
    let store = Arc::new(MemoryLog::default());
    let (key, value) = FIXTURE[0];
    let (key, mut value) = (unhex(key), unhex(value));
    value[0] = 2;
    let mut covered = key.clone();
    covered.push(2);
    covered.extend_from_slice(&value[5..]);
    let checksum = crc32c::crc32c(&covered).to_be_bytes();
    value[1..5].copy_from_slice(&checksum);
    store.write(&[LogOp::Put { key, value }], Durability::Synced).expect("writes");
    let error = open_default(&store).group(crate::support::SHARD, crate::support::REPLICA).err();
    let error = error.expect("is refused").to_string();
    assert!(error.contains("entry 5 of s3 r7 is corrupt: it has format 2"), "{error}");
}
