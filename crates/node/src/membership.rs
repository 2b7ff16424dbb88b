//! Which of the other nodes live, where they are and how loaded they are.
//!
//! What is agreed on is in the meta shard. Gossip is what still works when that cannot be
//! reached, because every node has come back at another address, say. Where a network carries
//! no UDP between nodes, a list takes its place: the members as the cluster has them, alive as
//! long as a connection to them stands.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use breccia_membership::{
    GossipConfig, GossipMembership, GossipTiming, Incarnation, Link, Load, MemberState, Membership,
    NodeInfo, StaticConfig, StaticMembership, View,
};
use breccia_replication::raft::Leadership;
use breccia_service::meta::ClusterState;
use breccia_transport::tcp::{LinkStatus, TcpTransport};
use breccia_types::{Member, NodeId, ShardId};
use futures::future::join_all;
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::cluster::ClusterView;
use crate::config::MembershipKind;
use crate::control::{Ask, ask};
use crate::maintenance::disk_space;
use crate::node::Node;
use crate::replicas::ShardMap;

/// How often a node tells how loaded it is.
const LOAD_INTERVAL: Duration = Duration::from_secs(10);
/// How often the connections of nodes on the list are looked at.
const LINKS_INTERVAL: Duration = Duration::from_secs(1);
/// How long a node on the list may be without a connection before it is dead.
const DEAD_AFTER: Duration = Duration::from_secs(5);

/// What there is to know of other nodes.
pub(crate) type Views = watch::Receiver<Arc<View>>;

/// What a node has that watches the others.
#[derive(Clone)]
pub(crate) struct Watching {
    pub(crate) membership: Arc<dyn Membership>,
    /// Its list, if that is how it does it.
    list: Option<Arc<StaticMembership>>,
}

/// Starts to watch the other nodes. Without it the node works all the same, so that what goes
/// wrong here is only told.
pub(crate) async fn start(
    kind: MembershipKind,
    own: &Member,
    listening: SocketAddr,
    state: &ClusterState,
    join: &[String],
) -> Option<Watching> {
    let address = match resolve(&own.peer).await {
        Ok(address) => address,
        Err(error) => {
            tracing::warn!(%error, address = %own.peer, "the other nodes are not watched");
            return None;
        }
    };
    let info = NodeInfo { zone: own.zone.clone(), ..NodeInfo::at(address) };
    match kind {
        MembershipKind::Gossip => {
            let gossip = gossip(info, own, listening, state, join).await;
            gossip.map(|gossip| Watching { membership: Arc::new(gossip), list: None })
        }
        MembershipKind::Static => {
            let list = Arc::new(StaticMembership::start(StaticConfig {
                node: own.node,
                incarnation: Incarnation::new(own.incarnation),
                info,
                peers: BTreeMap::new(),
                dead_after: DEAD_AFTER,
            }));
            let membership: Arc<dyn Membership> = Arc::<StaticMembership>::clone(&list);
            Some(Watching { membership, list: Some(list) })
        }
    }
}

/// Starts to gossip, on the port number on which the node serves other nodes.
async fn gossip(
    info: NodeInfo,
    own: &Member,
    listening: SocketAddr,
    state: &ClusterState,
    join: &[String],
) -> Option<GossipMembership> {
    let others = state.members.values().filter(|member| member.node != own.node);
    let mut seeds: Vec<String> = others.map(|member| member.peer.clone()).collect();
    seeds.extend(join.iter().cloned());
    let config = GossipConfig {
        cluster: state.id.to_string(),
        node: own.node,
        incarnation: Incarnation::new(own.incarnation),
        info,
        seeds,
        timing: GossipTiming::default(),
    };
    let socket = match UdpSocket::bind(listening).await {
        Ok(socket) => socket,
        Err(error) => {
            tracing::warn!(%error, address = %listening, "no gossip: it cannot be listened for");
            return None;
        }
    };
    let started = GossipMembership::start(config, socket).await;
    started.inspect_err(|error| tracing::warn!(%error, "no gossip")).ok()
}

async fn resolve(address: &str) -> std::io::Result<SocketAddr> {
    let resolved = tokio::net::lookup_host(address).await?.next();
    resolved.ok_or_else(|| std::io::Error::other("it resolves to nothing"))
}

/// What was heard of a node, by whoever tells this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Heard {
    /// It lives.
    Lately,
    /// Nothing, for so many seconds.
    Nothing {
        /// For how long.
        seconds: u64,
    },
}

/// What is known of another node without asking it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// The node.
    pub node: NodeId,
    /// Whether it lives.
    pub heard: Heard,
    /// How loaded it said it was; all zero if it has no way to tell.
    pub load: Load,
}

impl Node {
    /// What is known of the other nodes without asking them; nothing if they are not watched.
    #[must_use]
    pub fn watched(&self) -> Vec<Watched> {
        let Some(views) = &self.0.views else { return Vec::new() };
        let view = Arc::clone(&views.borrow());
        let others = view.members.iter().filter(|(node, _)| **node != self.id());
        others
            .map(|(node, member)| Watched {
                node: *node,
                heard: Heard::new(member.state),
                load: member.info.load,
            })
            .collect()
    }

    /// What was heard of another node, if the others are watched.
    pub(crate) fn heard(&self, node: NodeId) -> Option<Heard> {
        let view = Arc::clone(&self.0.views.as_ref()?.borrow());
        Some(Heard::new(view.members.get(&node)?.state))
    }
}

impl Heard {
    fn new(state: MemberState) -> Self {
        match state {
            MemberState::Alive => Self::Lately,
            MemberState::Suspect { since } | MemberState::Dead { since } => {
                Self::Nothing { seconds: since.elapsed().as_secs() }
            }
        }
    }
}

impl Watching {
    /// Keeps the list, if there is one, as the cluster and the connections have it, until
    /// stopped.
    pub(crate) async fn keep_list(
        self,
        own: NodeId,
        cluster: Arc<ClusterView>,
        network: TcpTransport,
        stop: CancellationToken,
    ) {
        let Some(list) = self.list else { return };
        let keeping = async {
            loop {
                if let Some(state) = cluster.state() {
                    let others = state.members.values().filter(|member| member.node != own);
                    list.set_peers(resolved(others).await);
                }
                report_links(&list, &network).await;
                tokio::time::sleep(LINKS_INTERVAL).await;
            }
        };
        stop.run_until_cancelled(keeping).await;
    }
}

/// The members whose addresses can be resolved.
async fn resolved(members: impl Iterator<Item = &Member>) -> BTreeMap<NodeId, NodeInfo> {
    let resolving = members.map(async |member| {
        let address = timeout(LINKS_INTERVAL, resolve(&member.peer)).await.ok()?.ok()?;
        let info = NodeInfo {
            zone: member.zone.clone(),
            http_addr: member.http.parse().ok(),
            resp_addr: member.resp.parse().ok(),
            ..NodeInfo::at(address)
        };
        Some((member.node, info))
    });
    join_all(resolving).await.into_iter().flatten().collect()
}

async fn report_links(list: &StaticMembership, network: &TcpTransport) {
    let looking = network.status().peers.into_iter().map(async |peer| match peer.control {
        LinkStatus::Connected { incarnation, .. } => {
            list.report(peer.node, Link::Up(Incarnation::new(incarnation)));
        }
        LinkStatus::Pausing { .. } | LinkStatus::Connecting => list.report(peer.node, Link::Down),
        // Nobody has anything to say to it. A question makes a connection, if there can be one.
        LinkStatus::Idle => {
            let _ = ask(network, peer.node, &Ask::Led, LINKS_INTERVAL).await;
        }
    });
    join_all(looking).await;
}

/// Where a node said last that it is: by gossip, if that was in a later run than the cluster
/// has registered, and else as the cluster has it.
pub(crate) fn address_of(member: &Member, view: Option<&View>) -> String {
    let seen = view.and_then(|view| view.members.get(&member.node));
    match seen {
        Some(seen) if seen.incarnation.get() > member.incarnation => {
            seen.info.peer_addr.to_string()
        }
        _ => member.peer.clone(),
    }
}

/// Tells the others how loaded this node is and where clients reach it, until stopped; then
/// tells them that it ends.
pub(crate) async fn tell(
    membership: Arc<dyn Membership>,
    shards: ShardMap,
    data_dir: Option<PathBuf>,
    own: watch::Receiver<Member>,
    stop: CancellationToken,
) {
    loop {
        membership.set_load(load(&shards, data_dir.as_ref()));
        let member = own.borrow().clone();
        membership.set_client_addresses(member.http.parse().ok(), member.resp.parse().ok());
        if stop.run_until_cancelled(tokio::time::sleep(LOAD_INTERVAL)).await.is_none() {
            membership.leave().await;
            return;
        }
    }
}

fn load(shards: &ShardMap, data_dir: Option<&PathBuf>) -> Load {
    let shards = shards.load();
    let held = shards.iter().filter(|(shard, _)| **shard != ShardId::META);
    let led = held.clone().filter(|(_, held)| held.group.leadership() == Leadership::Own);
    let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let space = data_dir.and_then(|path| disk_space(path).ok()).unwrap_or_default();
    Load {
        shards: count(held.count()),
        leaders: count(led.count()),
        disk_free_bytes: space.free_bytes,
        disk_bytes: space.all_bytes,
    }
}
