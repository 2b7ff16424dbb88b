use super::super::limits::GREETING_BYTES_MAX;
use super::*;

fn identity(address: &str) -> Identity {
    Identity {
        cluster: Some(ClusterId::new([0xab; 16])),
        peer: Peer { node: NodeId::new(u64::MAX), incarnation: u64::MAX },
        run: u64::MAX,
        address: address.to_owned(),
    }
}

fn rejections() -> Vec<Rejection> {
    let node = NodeId::new(7);
    let text = || "host:1".to_owned();
    vec![
        Rejection::NoCommonVersion { dialing: (1, 2), accepting: (3, 4) },
        Rejection::OtherCluster {
            dialing: node,
            dialing_cluster: ClusterId::new([1; 16]),
            accepting: NodeId::new(8),
            accepting_cluster: ClusterId::new([2; 16]),
        },
        Rejection::OtherNode { expected: node, found: NodeId::new(9) },
        Rejection::Stale { node, incarnation: 3, seen: 4, seen_at: text() },
        Rejection::Twin { node, incarnation: 3, seen_at: text(), found_at: "b:2".to_owned() },
        Rejection::Closing,
    ]
}

#[test]
fn greetings_come_back_as_they_were() {
    for purpose in [Purpose::Control, Purpose::Bulk, Purpose::Probe] {
        let hello = Hello {
            version_min: 1,
            version_max: 3,
            purpose,
            identity: Identity { cluster: None, ..identity("") },
            expects: Some(NodeId::new(300)),
            nonce: 5,
        };
        assert_eq!(Hello::decode(hello.encode().into()), Ok(hello));
    }
    for rejection in rejections().into_iter().map(Some).chain([None]) {
        let confirm = Confirm { echo: 9, rejection: rejection.clone() };
        assert_eq!(Confirm::decode(confirm.encode().into()), Ok(confirm));
        let identity = identity("host:1");
        let welcome = Welcome { version: 1, identity, echo: 1, nonce: 2, epoch: 3, rejection };
        assert_eq!(Welcome::decode(welcome.encode().into()), Ok(welcome));
    }
}

#[test]
fn a_greeting_is_not_another_greeting_and_is_not_cut_short() {
    let confirm = Confirm { echo: 9, rejection: None }.encode();
    assert!(Hello::decode(confirm.clone().into()).is_err());
    for length in 0..confirm.len() {
        assert!(Confirm::decode(confirm[..length].to_vec().into()).is_err());
    }
}

#[test]
fn the_longest_greeting_is_within_its_limit() {
    let long = "é".repeat(500);
    let rejection = Rejection::Twin {
        node: NodeId::new(u64::MAX),
        incarnation: u64::MAX,
        seen_at: long.clone(),
        found_at: long.clone(),
    };
    let identity = identity(&long);
    let rejection = Some(rejection);
    let welcome = Welcome { version: 1, identity, echo: 1, nonce: 2, epoch: 3, rejection };
    let encoded = welcome.encode();
    assert!(encoded.len() <= GREETING_BYTES_MAX, "{} bytes", encoded.len());
    assert!(Welcome::decode(encoded.into()).is_ok());
}
