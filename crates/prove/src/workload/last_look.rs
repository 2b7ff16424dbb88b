//! After everything: what each node says of each key, by each protocol.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::Shared;
use crate::history::{Call, Outcome, Protocol};

/// The pause before a key is read again that could not be read.
const PAUSE: Duration = Duration::from_millis(100);
/// How many failures a reader tells before it gives up.
const FAILURES_MAX: usize = 5;

pub(super) async fn look_at_all(shared: &Arc<Shared>, within: Duration) -> Vec<String> {
    let mut readers = JoinSet::new();
    for node in 0..shared.drivers.nodes() {
        for protocol in Protocol::ALL {
            readers.spawn(look(Arc::clone(shared), protocol, node, within));
        }
    }
    readers.join_all().await.into_iter().flatten().collect()
}

async fn look(
    shared: Arc<Shared>,
    protocol: Protocol,
    node: usize,
    within: Duration,
) -> Vec<String> {
    let client = shared.next_client();
    let mut driver = shared.drivers.driver(protocol, shared.config.deadline);
    let mut failures = Vec::new();
    for key in shared.histories.keys() {
        let start = Instant::now();
        loop {
            let asking = async { (node, driver.ask(node, key.as_str(), &Call::Read, None).await) };
            let about = (client, protocol, node);
            match shared.noted(&key, about, &Call::Read, asking).await {
                Outcome::Answered(_) => break,
                Outcome::Refused(why) | Outcome::Unknown(why) if start.elapsed() > within => {
                    failures.push(format!(
                        "node {node} did not answer a read of {key} by {protocol}: {why}"
                    ));
                    break;
                }
                Outcome::Refused(_) | Outcome::Unknown(_) => sleep(PAUSE).await,
            }
        }
        if failures.len() >= FAILURES_MAX {
            break;
        }
    }
    failures
}
