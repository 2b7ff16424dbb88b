//! Where the shards are led.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use breccia_ring::{LeaderChoice, Weight, spread_leaders};
use breccia_types::{NodeId, ReplicaId, ShardId};
use futures::stream::{self, StreamExt};
use tokio::time::Instant;

use super::look::{Look, Watch};
use super::{CHANGE_WITHIN, CHANGES_AT_ONCE, Driver};
use crate::control::Ask;

/// How long a leader is left where it is after it could not be moved.
const TRANSFER_PAUSE: Duration = Duration::from_secs(30);
/// How many leaders are moved before the driver looks again.
const TRANSFERS_PER_LOOK: usize = 2 * CHANGES_AT_ONCE;

/// A shard's lead that is to go to another of its voters.
pub(super) struct Transfer {
    pub(super) leader: NodeId,
    pub(super) shard: ShardId,
    pub(super) to: ReplicaId,
}

impl Driver {
    /// Spreads the leaders evenly over the nodes that answer and take writes, a few at a time;
    /// whether there may be more to move at once.
    pub(super) async fn spread_leaders(&self, look: &Look, watch: &mut Watch) -> bool {
        let now = Instant::now();
        watch.unmoved.retain(|_, since| now.duration_since(*since) < TRANSFER_PAUSE);
        let data = look.led.iter().filter(|(shard, _)| **shard != ShardId::META);
        let avoided: BTreeSet<_> = look.draining.union(&look.read_only).copied().collect();
        let choices: BTreeMap<_, _> = data
            .map(|(shard, (leader, led))| {
                let can_lead = |(replica, node): &&(ReplicaId, NodeId)| {
                    *node == *leader
                        || (led.answers(*replica)
                            && look.answering.contains(node)
                            && !avoided.contains(node)
                            && !watch.unmoved.contains_key(shard))
                };
                let voters = led.members.voters.iter().filter(can_lead).map(|(_, n)| *n).collect();
                (*shard, LeaderChoice { voters, leader: Some(*leader) })
            })
            .collect();
        let weights = look.answering.difference(&avoided);
        let weights = weights.map(|node| (*node, Weight::default())).collect();
        self.move_meta_off(&avoided, look).await;
        let moves = spread_leaders(&choices, &weights).into_iter().filter_map(|(shard, node)| {
            let (leader, led) = look.led.get(&shard)?;
            let to = led.members.voters.iter().find(|(_, of)| *of == node);
            let (to, _) = to.filter(|_| node != *leader)?;
            Some(Transfer { leader: *leader, shard, to: *to })
        });
        let moves: Vec<_> = moves.take(TRANSFERS_PER_LOOK).collect();
        let is_full = moves.len() == TRANSFERS_PER_LOOK;
        for (Transfer { shard, to, .. }, answer) in self.transfer_all(moves).await {
            match answer {
                Ok(()) => tracing::info!(%shard, %to, "leads now, to spread the leaders"),
                Err(reason) => {
                    tracing::info!(%shard, %to, %reason, "does not lead yet");
                    watch.unmoved.insert(shard, now);
                }
            }
        }
        is_full
    }

    /// Asks leaders to hand over, several at once; what became of each.
    pub(super) async fn transfer_all(
        &self,
        transfers: Vec<Transfer>,
    ) -> Vec<(Transfer, Result<(), String>)> {
        let transferring = transfers.into_iter().map(async |transfer| {
            let question = Ask::Transfer { shard: transfer.shard, to: transfer.to };
            let answer = self.ask(transfer.leader, question, CHANGE_WITHIN).await;
            (transfer, answer.map(drop))
        });
        stream::iter(transferring).buffer_unordered(CHANGES_AT_ONCE).collect().await
    }

    /// Hands the lead of the meta shard over if its node is one of these.
    async fn move_meta_off(&self, avoided: &BTreeSet<NodeId>, look: &Look) {
        let Some((leader, led)) = look.led.get(&ShardId::META) else { return };
        if !avoided.contains(leader) {
            return;
        }
        let voters = led.members.voters.iter();
        let passed_over: Vec<_> =
            voters.filter(|(_, node)| avoided.contains(node)).map(|(voter, _)| *voter).collect();
        let Some(to) = led.heir(&passed_over) else { return };
        let question = Ask::Transfer { shard: ShardId::META, to };
        match self.ask(*leader, question, CHANGE_WITHIN).await {
            Ok(_) => tracing::info!(%to, "leads the meta shard now: this node takes no writes"),
            Err(reason) => tracing::info!(%to, %reason, "does not lead the meta shard yet"),
        }
    }
}
