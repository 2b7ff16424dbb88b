//! Reads from one node, at the moment when it is most likely to be wrong.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Shared;
use crate::history::{Call, Outcome, Protocol};

/// Readers of each protocol.
pub(super) const READERS: usize = 2;
/// How long a question may wait for a node that is stopped, beyond the time of probing.
const PATIENCE: Duration = Duration::from_secs(3);
/// The pause after a read that failed.
const PAUSE: Duration = Duration::from_millis(20);

pub(super) async fn probe(
    shared: Arc<Shared>,
    protocol: Protocol,
    node: usize,
    duration: Duration,
) {
    let client = shared.next_client();
    let mut driver = shared.drivers.driver(protocol, duration + PATIENCE);
    let start = Instant::now();
    while start.elapsed() < duration && !shared.is_stopping() {
        for key in shared.keys.in_use() {
            let asking = async { (node, driver.ask(node, key.as_str(), &Call::Read, None).await) };
            let about = (client, protocol, node);
            let outcome = shared.noted(&key, about, &Call::Read, asking).await;
            if !matches!(outcome, Outcome::Answered(_)) {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
