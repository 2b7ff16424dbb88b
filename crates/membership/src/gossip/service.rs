//! The task between chitchat and the view.

use std::collections::HashSet;
use std::sync::Arc;

use breccia_types::NodeId;
use chitchat::{Chitchat, ChitchatHandle, ChitchatId};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tracing::{error, info};

use super::{GossipConfig, GossipTiming, fields};
use crate::table::{Patience, Presence, Sighting, Table};
use crate::view::{Incarnation, NodeInfo, View};

/// Gossip intervals that the others get to hear that a node leaves.
const LEAVE_INTERVALS: u32 = 2;
/// Gossip intervals between two attempts to reach a dead node.
const REACH_OUT_INTERVALS: usize = 10;

/// What a node is told to tell the others.
#[derive(Debug, Clone)]
pub(super) struct Told {
    pub(super) info: NodeInfo,
    /// That it leaves.
    pub(super) leaves: bool,
}

pub(super) struct Service {
    chitchat: ChitchatHandle,
    incarnation: Incarnation,
    timing: GossipTiming,
    table: Table,
    told: watch::Receiver<Told>,
    view: watch::Sender<Arc<View>>,
    ticks: usize,
}

impl Service {
    pub(super) fn new(
        config: GossipConfig,
        chitchat: ChitchatHandle,
        told: watch::Receiver<Told>,
    ) -> (Self, watch::Receiver<Arc<View>>) {
        let GossipConfig { node, incarnation, timing, .. } = config;
        let patience =
            Patience { dead_after: timing.dead_after, forget_after: Some(timing.forget_after) };
        let mut table = Table::new(node, patience);
        table.set_local(incarnation, config.info);
        let (view, watched) = watch::channel(Arc::new(table.view().clone()));
        let service = Self { chitchat, incarnation, timing, table, told, view, ticks: 0 };
        (service, watched)
    }

    /// Runs until the node leaves or the handle is dropped; the view ends with it.
    pub(super) async fn run(mut self) {
        let mut tick = interval(self.timing.gossip_interval);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let failed = self.chitchat.termination_watcher();
        tokio::pin!(failed);
        loop {
            tokio::select! {
                _ = tick.tick() => self.reach_out(),
                changed = self.told.changed() => {
                    if changed.is_err() {
                        break;
                    }
                    if self.tell().await.leaves {
                        self.leave().await;
                        break;
                    }
                }
                ended = &mut failed => {
                    error!(?ended, "gossip has stopped: restart this node");
                    break;
                }
            }
            self.look().await;
        }
    }

    /// Publishes the view if it has changed.
    async fn look(&mut self) {
        let sightings = self.chitchat.with_chitchat(|chitchat| sightings(chitchat)).await;
        self.table.observe(Instant::now(), sightings);
        let view = self.table.view();
        self.view.send_if_modified(|published| {
            let changed = **published != *view;
            if changed {
                log_transitions(published, view);
                *published = Arc::new(view.clone());
            }
            changed
        });
    }

    /// Says of this node what it has last been told to say.
    async fn tell(&mut self) -> Told {
        let told = self.told.borrow_and_update().clone();
        let said = fields::of(&told.info);
        self.chitchat
            .with_chitchat(|chitchat| {
                for (key, value) in &said {
                    chitchat.self_node_state().set(key, value);
                }
            })
            .await;
        self.table.set_local(self.incarnation, told.info.clone());
        told
    }

    /// Greets one dead node now and then, each in its turn. chitchat does so only while it
    /// remembers the node, and a partition may last longer.
    fn reach_out(&mut self) {
        self.ticks = self.ticks.wrapping_add(1);
        let dead = self.table.view().dead().count();
        if dead == 0 || !self.ticks.is_multiple_of(REACH_OUT_INTERVALS) {
            return;
        }
        let turn = (self.ticks / REACH_OUT_INTERVALS) % dead;
        let view = self.table.view();
        let node = view.dead().nth(turn).and_then(|(node, _)| view.members.get(&node));
        if let Some(member) = node {
            // Fails only if gossip has stopped, which the loop learns by itself.
            let _ = self.chitchat.gossip(member.info.peer_addr);
        }
    }

    async fn leave(&mut self) {
        self.chitchat
            .with_chitchat(|chitchat| chitchat.self_node_state().set(fields::LEFT, "1"))
            .await;
        for (_, member) in self.table.view().alive() {
            let _ = self.chitchat.gossip(member.info.peer_addr);
        }
        sleep(self.timing.gossip_interval * LEAVE_INTERVALS).await;
        let _ = self.chitchat.initiate_shutdown();
    }
}

/// Every run of every node that chitchat knows.
fn sightings(chitchat: &Chitchat) -> Vec<Sighting> {
    let live: HashSet<&ChitchatId> = chitchat.live_nodes().collect();
    let sighting = |(id, state): (&ChitchatId, &chitchat::NodeState)| {
        let presence = if state.contains_key(fields::LEFT) {
            Presence::Left
        } else if live.contains(id) {
            Presence::Live
        } else {
            Presence::Silent
        };
        Some(Sighting {
            node: NodeId::new(id.node_id.parse().ok()?),
            incarnation: Incarnation::new(id.generation_id),
            info: fields::read(state),
            presence,
        })
    };
    chitchat.node_states().iter().filter_map(sighting).collect()
}

fn log_transitions(before: &View, after: &View) {
    for (node, member) in &after.members {
        let known = before.members.get(node).map(|member| (member.incarnation, member.state));
        if known != Some((member.incarnation, member.state)) {
            info!(%node, incarnation = %member.incarnation, state = ?member.state, "member");
        }
    }
    for node in before.members.keys().filter(|node| !after.members.contains_key(node)) {
        info!(%node, "member forgotten");
    }
}
