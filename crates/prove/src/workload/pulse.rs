//! Writes at a steady beat, whatever became of those before: how long a shard takes no writes is
//! seen by clients that come anew, not by those that wait for a lost reply.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::Shared;
use super::keys::key_in_shard;
use crate::history::{Call, Key, Protocol};

/// How often each shard is written to.
const EVERY: Duration = Duration::from_millis(100);
/// How long one write may take.
const DEADLINE: Duration = Duration::from_secs(1);
/// Writes to one key.
const WRITES_PER_KEY: usize = 200;

/// Writes to one shard until the run stops.
pub(super) async fn pulse(shared: Arc<Shared>, shard: u32) {
    let mut beat = interval(EVERY);
    beat.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut writes = JoinSet::new();
    let mut key = Key::new("");
    let mut sent = 0;
    while !shared.is_stopping() {
        beat.tick().await;
        if sent % WRITES_PER_KEY == 0 {
            key = key_in_shard("pulse", shared.next_value(), (shard, shared.config.shards));
        }
        writes.spawn(write(Arc::clone(&shared), key.clone(), sent));
        sent += 1;
        while writes.try_join_next().is_some() {}
    }
    while writes.join_next().await.is_some() {}
}

/// One write, by each protocol and through each node in turn.
async fn write(shared: Arc<Shared>, key: Key, number: usize) {
    let node = number % shared.drivers.nodes();
    let protocols = Protocol::ALL;
    let protocol = protocols.into_iter().cycle().nth(number / 2 % protocols.len());
    let protocol = protocol.unwrap_or(Protocol::Resp);
    let mut driver = shared.drivers.driver(protocol, DEADLINE);
    let call = Call::Write(format!("p{}", shared.next_value()).into());
    let about = (shared.next_client(), protocol, node);
    let asking = async { (node, driver.ask(node, key.as_str(), &call, None).await) };
    shared.noted(&key, about, &call, asking).await;
}
