//! Membership by a list. Who is alive is told by those who hold connections.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use breccia_types::NodeId;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::membership::Membership;
use crate::table::{Patience, Presence, Sighting, Table};
use crate::view::{Incarnation, Load, NodeInfo, View};

/// How often the clock is looked at while a node's patience lasts.
const LOOKS_PER_DEATH: u32 = 8;

/// Who there is.
#[derive(Debug, Clone)]
pub struct StaticConfig {
    /// This node.
    pub node: NodeId,
    /// This run of it.
    pub incarnation: Incarnation,
    /// What is known of it.
    pub info: NodeInfo,
    /// The other nodes, until [`StaticMembership::set_peers`] says otherwise. They are suspected
    /// until they are connected.
    pub peers: BTreeMap<NodeId, NodeInfo>,
    /// How long a node may be without a connection before it is dead; 5 s is a good choice.
    pub dead_after: Duration,
}

/// What has become of the connection to a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// It stands, with this run of the node.
    Up(Incarnation),
    /// It is lost, or could not be made.
    Down,
}

/// Membership by a list. It has no voice: what it is told of this node, only this node sees.
#[derive(Debug)]
pub struct StaticMembership(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    view: watch::Sender<Arc<View>>,
}

#[derive(Debug)]
struct State {
    table: Table,
    incarnation: Incarnation,
    info: NodeInfo,
    peers: BTreeMap<NodeId, Peer>,
}

#[derive(Debug)]
struct Peer {
    info: NodeInfo,
    link: Link,
}

impl StaticMembership {
    /// Starts to keep the list. Must be called within a tokio runtime, which has its clock.
    #[must_use]
    pub fn start(config: StaticConfig) -> Self {
        let StaticConfig { node, incarnation, info, peers, dead_after } = config;
        let patience = Patience { dead_after, forget_after: None };
        let mut table = Table::new(node, patience);
        table.set_local(incarnation, info.clone());
        let mut state = State { table, incarnation, info, peers: BTreeMap::new() };
        state.set_peers(Instant::now(), peers);
        let view = watch::Sender::new(Arc::new(state.table.view().clone()));
        let shared = Arc::new(Shared { state: Mutex::new(state), view });
        tokio::spawn(keep_time(Arc::downgrade(&shared), dead_after / LOOKS_PER_DEATH));
        Self(shared)
    }

    /// Takes another list of the other nodes. Of those that were on the last one the
    /// connections are still known.
    pub fn set_peers(&self, peers: BTreeMap<NodeId, NodeInfo>) {
        self.0.change(|state| state.set_peers(Instant::now(), peers));
    }

    /// Takes in what has become of the connection to a node. What is said of a node that is
    /// not on the list, or of a run that a later one has ended, changes nothing.
    pub fn report(&self, node: NodeId, link: Link) {
        self.0.change(|state| {
            if let Some(peer) = state.peers.get_mut(&node) {
                peer.link = link;
            }
        });
    }
}

#[async_trait]
impl Membership for StaticMembership {
    fn watch(&self) -> watch::Receiver<Arc<View>> {
        self.0.view.subscribe()
    }

    fn set_client_addresses(&self, http: Option<SocketAddr>, resp: Option<SocketAddr>) {
        self.0.change(|state| {
            state.info.http_addr = http;
            state.info.resp_addr = resp;
        });
    }

    fn set_load(&self, load: Load) {
        self.0.change(|state| state.info.load = load);
    }

    /// Returns at once: the others learn it from their connections.
    async fn leave(&self) {}
}

impl Shared {
    /// Makes a change and publishes the view if it is another one then.
    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state.lock();
        change(&mut state);
        state.look(Instant::now());
        let view = state.table.view();
        self.view.send_if_modified(|published| {
            let changed = **published != *view;
            if changed {
                *published = Arc::new(view.clone());
            }
            changed
        });
    }
}

impl State {
    fn set_peers(&mut self, now: Instant, peers: BTreeMap<NodeId, NodeInfo>) {
        for node in self.peers.keys().filter(|node| !peers.contains_key(node)) {
            self.table.forget(*node);
        }
        let mut links = std::mem::take(&mut self.peers);
        for (node, info) in peers {
            self.table.expect(now, node, info.clone());
            let link = links.remove(&node).map_or(Link::Down, |peer| peer.link);
            self.peers.insert(node, Peer { info, link });
        }
    }

    fn look(&mut self, now: Instant) {
        self.table.set_local(self.incarnation, self.info.clone());
        let connected = |(node, peer): (&NodeId, &Peer)| match peer.link {
            Link::Up(incarnation) => Some(Sighting {
                node: *node,
                incarnation,
                info: peer.info.clone(),
                presence: Presence::Live,
            }),
            Link::Down => None,
        };
        self.table.observe(now, self.peers.iter().filter_map(connected).collect());
    }
}

/// Looks now and then, since silence becomes death by nothing but time.
async fn keep_time(shared: Weak<Shared>, every: Duration) {
    loop {
        sleep(every).await;
        match shared.upgrade() {
            Some(shared) => shared.change(|_| ()),
            None => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::MemberState;

    const DEAD_AFTER: Duration = Duration::from_secs(5);
    const PEER: NodeId = NodeId::new(2);

    fn membership() -> StaticMembership {
        let info = |port| NodeInfo::at(SocketAddr::from(([127, 0, 0, 1], port)));
        StaticMembership::start(StaticConfig {
            node: NodeId::new(1),
            incarnation: Incarnation::new(7),
            info: info(1),
            peers: BTreeMap::from([(PEER, info(2))]),
            dead_after: DEAD_AFTER,
        })
    }

    async fn wait_for(view: &mut watch::Receiver<Arc<View>>, what: impl Fn(&View) -> bool) {
        view.wait_for(|view| what(view)).await.expect("membership goes on");
    }

    fn is_dead(view: &View) -> bool {
        view.dead().any(|(node, _)| node == PEER)
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_never_connects_is_dead_in_the_end_and_alive_once_it_does() {
        let membership = membership();
        let mut view = membership.watch();
        assert!(matches!(view.borrow().members[&PEER].state, MemberState::Suspect { .. }));
        let start = Instant::now();
        wait_for(&mut view, is_dead).await;
        assert!((DEAD_AFTER..DEAD_AFTER * 3 / 2).contains(&start.elapsed()));
        membership.report(PEER, Link::Up(Incarnation::new(1)));
        assert!(view.borrow().is_alive(PEER));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_connection_is_first_suspicious_and_an_old_run_is_not_heard() {
        let membership = membership();
        let mut view = membership.watch();
        membership.report(PEER, Link::Up(Incarnation::new(2)));
        membership.report(PEER, Link::Up(Incarnation::new(1)));
        let suspect =
            |view: &View| matches!(view.members[&PEER].state, MemberState::Suspect { .. });
        assert!(suspect(&view.borrow()));
        assert_eq!(view.borrow().members[&PEER].incarnation, Incarnation::new(2));
        membership.report(PEER, Link::Up(Incarnation::new(2)));
        assert!(view.borrow().is_alive(PEER));
        membership.report(PEER, Link::Down);
        assert!(suspect(&view.borrow()));
        wait_for(&mut view, is_dead).await;
    }

    #[tokio::test(start_paused = true)]
    async fn nodes_off_the_list_do_not_exist_and_ones_own_news_are_seen() {
        let membership = membership();
        membership.report(NodeId::new(9), Link::Up(Incarnation::new(1)));
        let load = Load { shards: 3, ..Load::default() };
        membership.set_load(load);
        let http = Some(SocketAddr::from(([127, 0, 0, 1], 80)));
        membership.set_client_addresses(http, None);
        let view = membership.watch().borrow().clone();
        assert_eq!(view.members.len(), 2);
        let own = &view.members[&NodeId::new(1)];
        assert_eq!((own.info.load, own.info.http_addr), (load, http));
        assert_eq!(own.incarnation, Incarnation::new(7));
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_list_keeps_the_connections_of_those_that_stay_and_forgets_who_goes() {
        let membership = membership();
        let view = membership.watch();
        membership.report(PEER, Link::Up(Incarnation::new(1)));
        let (other, moved) = (NodeId::new(3), SocketAddr::from(([127, 0, 0, 1], 20)));
        membership.set_peers(BTreeMap::from([
            (PEER, NodeInfo::at(moved)),
            (other, NodeInfo::at(SocketAddr::from(([127, 0, 0, 1], 3)))),
        ]));
        assert!(view.borrow().is_alive(PEER) && !view.borrow().is_alive(other));
        assert_eq!(view.borrow().members[&PEER].info.peer_addr, moved);
        membership.set_peers(BTreeMap::new());
        assert_eq!(view.borrow().members.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn the_view_ends_with_the_last_handle() {
        let membership = membership();
        let mut view = membership.watch();
        drop(membership);
        assert!(view.wait_for(|_| false).await.is_err());
    }
}
