//! What one node knows of all nodes.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;

use breccia_types::NodeId;
use tokio::time::Instant;

/// The most nodes that a view holds. Beyond it the one that is dead for longest is forgotten,
/// and if none is dead a new node is not seen.
pub const MEMBERS_MAX: usize = 1_000;
/// The longest name of a zone, in bytes. A node with a longer one appears without a zone.
pub const ZONE_BYTES_MAX: usize = 255;

/// One run of a node's process. A later one is larger, and puts an end to all before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Incarnation(u64);

impl Incarnation {
    /// The incarnation of this number. Count it up on disk at each start, or take the
    /// microseconds of the start.
    #[must_use]
    pub const fn new(raw: u64) -> Self {
        Self(raw)
    }

    /// The raw number.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "i{}", self.0)
    }
}

/// All nodes that are known, the one that looks included.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct View {
    /// By identity.
    pub members: BTreeMap<NodeId, Member>,
}

impl View {
    /// Whether a node is known and nothing speaks against its being alive.
    #[must_use]
    pub fn is_alive(&self, node: NodeId) -> bool {
        self.members.get(&node).is_some_and(|member| member.state == MemberState::Alive)
    }

    /// The nodes that are alive.
    pub fn alive(&self) -> impl Iterator<Item = (NodeId, &Member)> {
        self.members
            .iter()
            .filter(|(_, member)| member.state == MemberState::Alive)
            .map(|(node, member)| (*node, member))
    }

    /// The nodes that are dead, and since when.
    pub fn dead(&self) -> impl Iterator<Item = (NodeId, Instant)> {
        self.members.iter().filter_map(|(node, member)| match member.state {
            MemberState::Dead { since } => Some((*node, since)),
            MemberState::Alive | MemberState::Suspect { .. } => None,
        })
    }
}

/// What is known of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its latest run.
    pub incarnation: Incarnation,
    /// What it says of itself; if it is dead, what it said last.
    pub info: NodeInfo,
    /// Whether it is alive.
    pub state: MemberState,
}

/// Whether a node is alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemberState {
    /// It is heard of.
    Alive,
    /// It is not heard of and probably dead. Do not send it what others can do as well.
    Suspect {
        /// When this began.
        since: Instant,
    },
    /// It has not been heard of for long, or has said that it leaves.
    Dead {
        /// When it was first suspected, or left.
        since: Instant,
    },
}

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeInfo {
    /// Where other nodes reach it, by TCP; gossip goes to the same port by UDP.
    pub peer_addr: SocketAddr,
    /// Where clients reach it by HTTP and gRPC, if they do.
    pub http_addr: Option<SocketAddr>,
    /// Where clients reach it by the Redis protocol, if they do.
    pub resp_addr: Option<SocketAddr>,
    /// What it fails together with; empty if nobody has said. At most [`ZONE_BYTES_MAX`].
    pub zone: String,
    /// How loaded it is.
    pub load: Load,
}

impl NodeInfo {
    /// A node of which only the address is known.
    #[must_use]
    pub fn at(peer_addr: SocketAddr) -> Self {
        Self {
            peer_addr,
            http_addr: None,
            resp_addr: None,
            zone: String::new(),
            load: Load::default(),
        }
    }
}

/// How loaded a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// Replicas of shards that it holds.
    pub shards: u64,
    /// Shards that it leads.
    pub leaders: u64,
    /// Free space where its data is, in bytes.
    pub disk_free_bytes: u64,
    /// All space where its data is, in bytes.
    pub disk_bytes: u64,
}
