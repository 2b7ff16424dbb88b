//! How the cluster stands, by its own account.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::Value as Json;

use crate::clients::{Address, HttpConnection};

/// How many entries a replica may be behind its leader while clients write.
const LAG_MAX: u64 = 1_000;

/// A shard and the node that leads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardLeader {
    /// The shard's name, or number.
    pub shard: String,
    /// The node's number.
    pub node: usize,
}

async fn ask(address: &Address, path: &str, deadline: Duration) -> Option<Json> {
    let reply = HttpConnection::get(address.http, path, deadline).await.ok()?;
    if reply.status != 200 {
        return None;
    }
    serde_json::from_slice(&reply.body).ok()
}

fn text<'a>(of: &'a Json, member: &str) -> &'a str {
    of.get(member).and_then(Json::as_str).unwrap_or_default()
}

fn list<'a>(of: &'a Json, member: &str) -> &'a [Json] {
    of.get(member).and_then(Json::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// The shards, as the first node tells that answers.
async fn shards(nodes: &[Address], deadline: Duration) -> Option<Vec<Json>> {
    for node in nodes {
        if let Some(answer) = ask(node, "/v1/shards", deadline).await {
            return Some(list(&answer, "shards").to_vec());
        }
    }
    None
}

/// Who leads which shard. Nodes that do not answer lead nothing, as far as this knows.
pub(super) async fn leaders(nodes: &[Address], deadline: Duration) -> Vec<ShardLeader> {
    let mut numbers = HashMap::new();
    for (number, node) in nodes.iter().enumerate() {
        if let Some(status) = ask(node, "/v1/status", deadline).await {
            numbers.insert(text(&status, "id").to_owned(), number);
        }
    }
    let shards = shards(nodes, deadline).await.unwrap_or_default();
    let led = shards.iter().filter_map(|shard| {
        let node = *numbers.get(text(shard, "leader"))?;
        Some(ShardLeader { shard: name(shard), node })
    });
    led.collect()
}

fn name(shard: &Json) -> String {
    match text(shard, "name") {
        "" => shard.get("shard").map(Json::to_string).unwrap_or_default(),
        name => name.to_owned(),
    }
}

/// What the cluster lacks of being whole, if anything. A lone node tells nothing of replicas,
/// and is whole.
pub(super) async fn missing(nodes: &[Address], deadline: Duration) -> Option<String> {
    if nodes.len() == 1 {
        return None;
    }
    let Some(shards) = shards(nodes, deadline).await else {
        return Some("no node tells how the shards stand".to_owned());
    };
    let lacking = shards.iter().filter_map(|shard| lacks(shard, nodes.len()));
    let lacking: Vec<String> = lacking.collect();
    (!lacking.is_empty()).then(|| lacking.join("; "))
}

fn lacks(shard: &Json, replicas: usize) -> Option<String> {
    let name = name(shard);
    if text(shard, "leader").is_empty() {
        return Some(format!("{name} has no leader"));
    }
    let sound = |replica: &&Json| {
        let votes = replica.get("votes").and_then(Json::as_bool) == Some(true);
        let lag = replica.get("lag").and_then(Json::as_u64).unwrap_or(0);
        let works = matches!(text(replica, "role"), "leader" | "follower");
        votes && works && lag <= LAG_MAX && text(replica, "trouble").is_empty()
    };
    let count = list(shard, "replicas").iter().filter(sound).count();
    (count < replicas).then(|| format!("{name} has {count} sound replicas"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_shard_is_whole_with_a_leader_and_enough_replicas_that_keep_up() {
        let replica = |role: &str, lag: u64| json!({ "node": "a", "role": role, "votes": true, "lag": lag, "trouble": null });
        let shard = |leader: &str, replicas: Vec<Json>| json!({ "name": "s1", "leader": leader, "replicas": replicas });
        let sound = || vec![replica("leader", 0), replica("follower", 3)];
        assert_eq!(lacks(&shard("a", sound()), 2), None);
        for lacking in [
            shard("", sound()),
            shard("a", vec![replica("leader", 0)]),
            shard("a", vec![replica("leader", 0), replica("follower", 5_000)]),
            shard("a", vec![replica("leader", 0), replica("learner", 0)]),
            shard("a", vec![replica("leader", 0), replica("", 0)]),
        ] {
            assert!(lacks(&lacking, 2).is_some(), "{lacking}");
        }
    }
}
