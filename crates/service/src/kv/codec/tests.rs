use proptest::prelude::*;

use super::*;

fn bytes() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..20).prop_map(Bytes::from)
}

fn table() -> impl Strategy<Value = TableRef> {
    let kind = prop_oneof![Just(RowKind::Plain), Just(RowKind::Versioned), Just(RowKind::Monoid)];
    (any::<u32>(), kind).prop_map(|(id, kind)| TableRef { id: TableId::new(id), kind })
}

fn expiry() -> impl Strategy<Value = Expiry> {
    prop_oneof![
        Just(Expiry::Never),
        any::<u64>().prop_map(|micros| Expiry::After(Duration::from_micros(micros))),
        any::<i64>().prop_map(|micros| Expiry::At(Timestamp::from_micros(micros))),
    ]
}

fn version() -> impl Strategy<Value = Option<Timestamp>> {
    prop::option::of(any::<i64>().prop_map(Timestamp::from_micros))
}

fn single() -> impl Strategy<Value = KvWrite> {
    prop_oneof![
        (table(), bytes(), bytes(), expiry(), version()).prop_map(
            |(table, key, value, expiry, version)| KvWrite::Put {
                table,
                key,
                value,
                expiry,
                version
            }
        ),
        (table(), bytes(), expiry(), version()).prop_map(|(table, key, expiry, version)| {
            KvWrite::Delete { table, key, expiry, version }
        }),
        (table(), bytes(), prop::option::of(bytes()))
            .prop_map(|(table, from, to)| KvWrite::DeleteRange { table, from, to }),
        (table(), bytes(), prop::option::of(bytes()), prop::option::of(bytes()), expiry())
            .prop_map(|(table, key, expected, new, expiry)| KvWrite::CompareAndSet {
                table,
                key,
                expected,
                new,
                expiry
            }),
        (table(), bytes(), bytes(), expiry()).prop_map(|(table, key, operand, expiry)| {
            KvWrite::Merge { table, key, operand, expiry }
        }),
    ]
}

fn write() -> impl Strategy<Value = KvWrite> {
    prop_oneof![
        single(),
        table().prop_map(|table| KvWrite::DropTable { table }),
        prop::collection::vec(single(), 0..5).prop_map(KvWrite::Batch),
    ]
}

fn reply() -> impl Strategy<Value = KvReply> {
    let single = prop_oneof![
        any::<i64>().prop_map(|micros| KvReply::Done { version: Timestamp::from_micros(micros) }),
        any::<bool>().prop_map(|existed| KvReply::Deleted { existed }),
        (any::<bool>(), prop::option::of(bytes()))
            .prop_map(|(swapped, actual)| KvReply::Swapped { swapped, actual }),
        any::<u32>().prop_map(|index| KvReply::GuardFailed { index }),
        Just(KvReply::TableDropped),
    ];
    prop_oneof![single.clone(), prop::collection::vec(single, 0..5).prop_map(KvReply::Batch)]
}

proptest! {
    #[test]
    fn commands_come_back_as_they_went(command in write()) {
        prop_assert_eq!(decode_write(encode_write(&command)), Ok(command));
    }

    #[test]
    fn replies_come_back_as_they_went(reply in reply()) {
        prop_assert_eq!(decode_reply(encode_reply(&reply)), Ok(reply));
    }

    #[test]
    fn a_cut_command_is_refused(command in write(), cut in any::<prop::sample::Index>()) {
        let encoded = encode_write(&command);
        let cut = cut.index(encoded.len());
        prop_assert!(decode_write(encoded.slice(..cut)).is_err());
    }

    #[test]
    fn hostile_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = decode_write(Bytes::from(bytes.clone()));
        if let Some(first) = bytes.first_mut() {
            *first = VERSION;
        }
        let _ = decode_reply(Bytes::from(bytes.clone()));
        let _ = decode_write(Bytes::from(bytes));
    }
}

#[test]
fn the_bytes_of_version_one_stay_what_they_are() {
    let table = TableRef { id: TableId::new(300), kind: RowKind::Plain };
    let put = KvWrite::Put {
        table,
        key: Bytes::from_static(b"k"),
        value: Bytes::from_static(b"vv"),
        expiry: Expiry::After(Duration::from_micros(5)),
        version: Some(Timestamp::from_micros(-1)),
    };
    assert_eq!(encode_write(&put).as_ref(), b"\x01\x01\xac\x02\x00\x01k\x02vv\x01\x05\x01\x01");
    let batch = KvWrite::Batch(vec![KvWrite::Delete {
        table,
        key: Bytes::from_static(b"k"),
        expiry: Expiry::Never,
        version: None,
    }]);
    assert_eq!(encode_write(&batch).as_ref(), b"\x01\x06\x01\x02\xac\x02\x00\x01k\x00\x00");
    assert_eq!(encode_reply(&KvReply::Deleted { existed: true }).as_ref(), b"\x01\x02\x01");
}
