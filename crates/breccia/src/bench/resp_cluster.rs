//! A client of a cluster that speaks the Redis protocol: it sends each key to the node that
//! leads its slot, over one connection per node.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use breccia_ring::slot_of;
use breccia_types::Partition;
use futures::future::try_join_all;

use super::resp::RespConnection;
use super::target::{Done, Outcome};
use super::workload::Operation;

/// Connections to all nodes of a cluster. Leaders that move while it runs fail operations:
/// a benchmark is not to measure that.
pub(crate) struct RespClusterConnection {
    nodes: Vec<RespConnection>,
    /// The node of `nodes` that leads the slots from this one on.
    led: BTreeMap<u16, usize>,
}

impl RespClusterConnection {
    /// Connects to the cluster of the node at `HOST:PORT`.
    ///
    /// # Errors
    /// If it, or another node that leads slots, does not answer.
    pub(crate) async fn connect(address: &str) -> Result<Self> {
        let slots = RespConnection::connect(address).await?.slots().await?;
        let mut addresses: Vec<&String> = slots.iter().map(|(_, _, node)| node).collect();
        addresses.sort_unstable();
        addresses.dedup();
        let connecting = addresses.iter().map(|address| RespConnection::connect(address));
        let nodes = try_join_all(connecting).await?;
        let at = |node: &String| addresses.iter().position(|address| *address == node);
        let led = slots.iter().filter_map(|(first, _, node)| Some((*first, at(node)?))).collect();
        Ok(Self { nodes, led })
    }

    /// Carries out operations together, all nodes at the same time.
    ///
    /// # Errors
    /// If a connection breaks.
    pub(crate) async fn execute(
        &mut self,
        batch: &[Operation],
        done: &mut Vec<Done>,
    ) -> Result<()> {
        if let [operation] = batch {
            let node = self.leader(operation)?;
            let node = self.nodes.get_mut(node).context("a slot without a node")?;
            return node.execute(batch, done).await;
        }
        let mut shares: Vec<(Vec<usize>, Vec<Operation>)> =
            vec![Default::default(); self.nodes.len()];
        for (place, operation) in batch.iter().enumerate() {
            let share = shares.get_mut(self.leader(operation)?);
            let (places, operations) = share.context("a slot without a node")?;
            places.push(place);
            operations.push(operation.clone());
        }
        let executing = self.nodes.iter_mut().zip(&shares).map(async |(node, (_, operations))| {
            let mut done = Vec::with_capacity(operations.len());
            if !operations.is_empty() {
                node.execute(operations, &mut done).await?;
            }
            anyhow::Ok(done)
        });
        let mut outcomes: Vec<Option<Done>> = vec![None; batch.len()];
        for (share, (places, _)) in try_join_all(executing).await?.into_iter().zip(&shares) {
            for (done, place) in share.into_iter().zip(places) {
                if let Some(outcome) = outcomes.get_mut(*place) {
                    *outcome = Some(done);
                }
            }
        }
        let missing = || Done { at: std::time::Instant::now(), outcome: Outcome::Missing };
        done.extend(outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(missing)));
        Ok(())
    }

    /// The node of `nodes` that leads an operation's key.
    fn leader(&self, operation: &Operation) -> Result<usize> {
        let slot = slot_of(Partition::HashTag, &operation.key).get();
        let led = self.led.range(..=slot).next_back();
        led.map(|(_, node)| *node).context("a slot without a node")
    }

    /// What the servers say of themselves, for the report.
    pub(crate) async fn describe(&mut self) -> Result<String> {
        let nodes = self.nodes.len();
        let first = self.nodes.first_mut().context("no node leads a slot")?;
        Ok(format!("{nodes} nodes, {}", first.describe().await?))
    }
}
