//! What a node says of itself, as the keys and values that chitchat carries.
//!
//! A build ignores keys that it does not know, and takes a value that it cannot read for
//! none, so that nodes of different builds can gossip.

use chitchat::NodeState;

use crate::view::{Load, NodeInfo, ZONE_BYTES_MAX};

const HTTP: &str = "http";
const RESP: &str = "resp";
const ZONE: &str = "zone";
const SHARDS: &str = "shards";
const LEADERS: &str = "leaders";
const DISK_FREE_BYTES: &str = "disk_free_bytes";
const DISK_BYTES: &str = "disk_bytes";
/// Present once the process has said that it ends.
pub(super) const LEFT: &str = "left";

/// The keys and values of a node.
pub(super) fn of(info: &NodeInfo) -> Vec<(String, String)> {
    let address = |address: Option<std::net::SocketAddr>| {
        address.map_or_else(String::new, |address| address.to_string())
    };
    [
        (HTTP, address(info.http_addr)),
        (RESP, address(info.resp_addr)),
        (ZONE, info.zone.clone()),
        (SHARDS, info.load.shards.to_string()),
        (LEADERS, info.load.leaders.to_string()),
        (DISK_FREE_BYTES, info.load.disk_free_bytes.to_string()),
        (DISK_BYTES, info.load.disk_bytes.to_string()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .to_vec()
}

/// What the keys and values of a node say.
pub(super) fn read(state: &NodeState) -> NodeInfo {
    let address = |key| state.get(key).and_then(|text| text.parse().ok());
    let number = |key| state.get(key).and_then(|text| text.parse().ok()).unwrap_or(0);
    NodeInfo {
        peer_addr: state.chitchat_id().gossip_advertise_addr,
        http_addr: address(HTTP),
        resp_addr: address(RESP),
        zone: state
            .get(ZONE)
            .filter(|zone| zone.len() <= ZONE_BYTES_MAX)
            .unwrap_or_default()
            .to_owned(),
        load: Load {
            shards: number(SHARDS),
            leaders: number(LEADERS),
            disk_free_bytes: number(DISK_FREE_BYTES),
            disk_bytes: number(DISK_BYTES),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_node_says_is_what_the_others_read() {
        let mut state = NodeState::for_test();
        let peer_addr = state.chitchat_id().gossip_advertise_addr;
        assert_eq!(read(&state), NodeInfo::at(peer_addr));
        let info = NodeInfo {
            peer_addr,
            http_addr: "[::1]:80".parse().ok(),
            resp_addr: None,
            zone: "rack 7".to_owned(),
            load: Load { shards: 1, leaders: 2, disk_free_bytes: 3, disk_bytes: u64::MAX },
        };
        of(&info).into_iter().for_each(|(key, value)| state.set(key, value));
        assert_eq!(read(&state), info);
    }

    #[test]
    fn what_cannot_be_read_is_taken_for_nothing() {
        let mut state = NodeState::for_test();
        state.set(HTTP, "localhost:80");
        state.set(SHARDS, "-1");
        state.set(ZONE, "z".repeat(ZONE_BYTES_MAX + 1));
        state.set("of a later build", "x");
        assert_eq!(read(&state), NodeInfo::at(state.chitchat_id().gossip_advertise_addr));
    }
}
