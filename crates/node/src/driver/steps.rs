//! The steps by which a shard's log and its placement come to the same.

use std::collections::{BTreeMap, BTreeSet};

use breccia_ring::{LogPoint, Placement, ReplicaPlace, Step};
use breccia_service::meta::{MetaReply, MetaWrite, Placed};
use breccia_types::{NodeId, RequestError, ShardId};
use futures::stream::{self, StreamExt};

use super::leaders::Transfer;
use super::look::{Look, real};
use super::{CHANGE_WITHIN, CHANGES_AT_ONCE, Driver, Planned};
use crate::control::{Ask, Change, LedShard, MembersSeen};

/// A change that the leader of a shard is asked for.
struct AskedChange {
    leader: NodeId,
    shard: ShardId,
    seen: MembersSeen,
    change: Change,
}

impl LedShard {
    fn ask(&self, leader: NodeId, change: Change) -> AskedChange {
        AskedChange { leader, shard: self.shard, seen: self.members.clone(), change }
    }
}

impl Driver {
    /// Takes over into the placement what logs went ahead with; whether there was anything.
    pub(super) async fn follow_the_logs(&self, look: &Look) -> Result<bool, RequestError> {
        let mut has_followed = false;
        for of in [Placed::Meta, Placed::Shards] {
            let mut next = look.placement(of).clone();
            let from_epoch = next.epoch().get();
            for (shard, _) in look.placement(of).shards() {
                let Some((_, led)) = look.led.get(&real(of, shard)) else { continue };
                if led.is_changing {
                    continue;
                }
                let (term, index) = led.members.version;
                let as_of = LogPoint { term, index };
                if let Some(after) = next.after_log(shard, &led.members.places(), as_of) {
                    tracing::info!(shard = %real(of, shard), "placed as its log says");
                    next = after;
                }
            }
            has_followed |= self.place(of, from_epoch, &next).await?;
        }
        Ok(has_followed)
    }

    /// Lets logs know of replicas that are placed, and forget those that are not; the shards
    /// where that was needed and could be done. A replica that is to go is not made known.
    pub(super) async fn mend_members(&self, look: &Look, plans: &[Planned]) -> BTreeSet<ShardId> {
        let mut asks = Vec::new();
        for Planned { of, steps } in plans {
            for (shard, _) in look.placement(*of).shards() {
                let Some((leader, led)) = look.led.get(&real(*of, shard)) else { continue };
                if led.is_changing {
                    continue;
                }
                let places = look.placement(*of).replicas(shard);
                // One at a time, and only to nodes that are there.
                let is_to_go = |replica| steps.contains(&Step::Remove { shard, replica });
                let missing = places.iter().find(|place| {
                    !led.members.has(place.replica)
                        && !is_to_go(place.replica)
                        && look.answering.contains(&place.node)
                });
                let is_placed = |replica| places.iter().any(|place| place.replica == replica);
                let unplaced = led.members.ids().find(|replica| !is_placed(*replica));
                let change = match (missing, unplaced) {
                    (_, Some(replica)) if replica != led.replica => Change::Remove { replica },
                    (Some(ReplicaPlace { replica, node, .. }), _) => {
                        Change::AddLearner { replica: *replica, node: *node }
                    }
                    _ => continue,
                };
                asks.push(led.ask(*leader, change));
            }
        }
        self.change_all(asks).await.into_iter().collect()
    }

    /// Takes planned steps; whether anything came of them.
    pub(super) async fn take_steps(
        &self,
        look: &Look,
        of: Placed,
        steps: Vec<Step>,
    ) -> Result<bool, RequestError> {
        let placement = look.placement(of);
        let mut next = placement.clone();
        let mut asks = Vec::new();
        let mut asked = BTreeMap::new();
        let mut handovers = Vec::new();
        for step in steps {
            let shard = real(of, step.shard());
            let Some((leader, led)) = look.led.get(&shard) else { continue };
            if led.is_changing {
                continue;
            }
            let (change, leaving) = match &step {
                // A node that joins answers as a member once it is told of its replica of the
                // meta shard.
                Step::AddLearner { node, .. }
                    if of == Placed::Shards && !look.answering.contains(node) =>
                {
                    continue;
                }
                Step::AddLearner { .. } => {
                    tracing::info!(%step, "places");
                    next = next.after(&step).unwrap_or(next);
                    continue;
                }
                Step::Promote { replicas, .. } => {
                    (Change::Promote { replicas: replicas.iter().copied().collect() }, Vec::new())
                }
                Step::Replace { add, remove, .. } => {
                    (Change::Replace { old: *remove, new: *add }, vec![*remove])
                }
                Step::Demote { replicas, .. } => (
                    Change::Demote { replicas: replicas.iter().copied().collect() },
                    replicas.clone(),
                ),
                // Its log does not have it, any more or yet: no one will miss it.
                Step::Remove { replica, .. } if !led.members.has(*replica) => {
                    tracing::info!(%step, "is placed no more");
                    next = next.after(&step).unwrap_or(next);
                    continue;
                }
                Step::Remove { replica, .. } => {
                    (Change::Remove { replica: *replica }, vec![*replica])
                }
            };
            if leaving.contains(&led.replica) {
                handovers.extend(led.heir(&leaving).map(|to| Transfer {
                    leader: *leader,
                    shard,
                    to,
                }));
                continue;
            }
            asked.insert(shard, step);
            asks.push(led.ask(*leader, change));
        }
        let mut has_acted = self.place(of, placement.epoch().get(), &next).await?;
        has_acted |= self.transfer_all(handovers).await.iter().any(|(_, answer)| answer.is_ok());
        for shard in self.change_all(asks).await {
            if let Some(step) = asked.get(&shard) {
                tracing::info!(%step, "done");
            }
            has_acted = true;
        }
        Ok(has_acted)
    }

    /// Asks the leaders of shards to change their replicas; those that did.
    async fn change_all(&self, asks: Vec<AskedChange>) -> Vec<ShardId> {
        let changing: Vec<_> = asks.into_iter().map(|asked| self.change(asked)).collect();
        let changed: Vec<_> =
            stream::iter(changing).buffer_unordered(CHANGES_AT_ONCE).collect().await;
        changed.into_iter().flatten().collect()
    }

    /// Asks the leader of a shard to change its replicas; the shard, if it did.
    async fn change(&self, asked: AskedChange) -> Option<ShardId> {
        let AskedChange { leader, shard, seen, change } = asked;
        let question = Ask::Change { shard, seen, change: change.clone() };
        match self.ask(leader, question, CHANGE_WITHIN).await {
            Ok(_) => Some(shard),
            Err(reason) => {
                tracing::debug!(%shard, ?change, %reason, "not done yet");
                None
            }
        }
    }

    /// Replaces a placement, unless it is the same; whether it was replaced.
    async fn place(
        &self,
        of: Placed,
        from_epoch: u64,
        next: &Placement,
    ) -> Result<bool, RequestError> {
        if next.epoch().get() == from_epoch {
            return Ok(false);
        }
        let write = MetaWrite::Place { of, from_epoch, placement: next.encode() };
        match self.meta.change(&write).await? {
            MetaReply::Done => Ok(true),
            // Someone else drives, too; look again.
            MetaReply::Refused { .. } => Ok(true),
            other => Err(crate::meta::unexpected(&other)),
        }
    }
}
