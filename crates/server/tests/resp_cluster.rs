//! Clients of the Redis protocol that follow slots, against a cluster whose leaders change.

#![allow(clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::time::Duration;

use breccia_node::{MembershipKind, Node, NodeConfig, Peering};
use breccia_ring::slot_of;
use breccia_server::resp::{Config, Server};
use breccia_types::{NodeId, ShardId};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

/// How long a test waits for what is to come about some time.
const PATIENCE: Duration = Duration::from_secs(60);
/// Within what time a client finds a leader that there is.
const FOUND_WITHIN: Duration = Duration::from_secs(3);

/// A node that serves the Redis protocol.
struct Running {
    node: Node,
    address: String,
    stop: CancellationToken,
    serving: JoinHandle<std::io::Result<()>>,
    _directory: tempfile::TempDir,
}

impl Running {
    async fn start(first: Option<&Self>) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let peering = Peering {
            listen: "127.0.0.1:0".to_owned(),
            advertise: None,
            join: first.iter().map(|first| first.node.peer_address()).collect(),
            zone: String::new(),
            membership: MembershipKind::default(),
        };
        let config = NodeConfig {
            shards: first.is_none().then_some(4),
            peering: Some(peering),
            memory_bytes: 64 << 20,
            ..NodeConfig::new(directory.path())
        };
        let node = Node::open(config).await.expect("opens");
        let config = Config::new(([127, 0, 0, 1], 0).into());
        let server = Server::bind(node.clone(), config).await.expect("a free port");
        let address = server.local_addr().to_string();
        node.announce(String::new(), address.clone());
        let stop = CancellationToken::new();
        let serving = tokio::spawn(server.run(stop.clone()));
        Self { node, address, stop, serving, _directory: directory }
    }

    fn id(&self) -> NodeId {
        self.node.id()
    }

    /// Ends the server, and the node without handing anything over.
    async fn crash(self) {
        self.stop.cancel();
        self.serving.await.expect("no panic").expect("ends");
    }
}

/// A connection, and how it reads one reply.
struct Connection(BufReader<TcpStream>);

impl Connection {
    async fn open(address: &str) -> Option<Self> {
        Some(Self(BufReader::new(TcpStream::connect(address).await.ok()?)))
    }

    /// A connection that follows slots.
    async fn following(address: &str) -> Option<Self> {
        let mut connection = Self::open(address).await?;
        connection.ask("CLUSTER SLOTS").await?;
        Some(connection)
    }

    /// The first line of the reply. `None` if the connection broke.
    async fn ask(&mut self, command: &str) -> Option<String> {
        self.ask_all(command).await?.into_iter().next()
    }

    /// The lines of the reply, those of values included.
    async fn ask_all(&mut self, command: &str) -> Option<Vec<String>> {
        self.0.get_mut().write_all(format!("{command}\r\n").as_bytes()).await.ok()?;
        let mut lines = Vec::new();
        let mut left = 1_usize;
        while left > 0 {
            left -= 1;
            let mut line = String::new();
            timeout(PATIENCE, self.0.read_line(&mut line)).await.ok()?.ok().filter(|n| *n > 0)?;
            let line = line.trim_end().to_owned();
            match (line.get(..1), line.get(1..).and_then(|n| n.parse::<usize>().ok())) {
                (Some("*"), Some(count)) => left += count,
                (Some("$"), Some(bytes)) => {
                    let mut value = vec![0; bytes + 2];
                    self.0.read_exact(&mut value).await.ok()?;
                    let value = String::from_utf8_lossy(&value).into_owned();
                    lines.push(line);
                    lines.extend(value.lines().map(str::to_owned));
                    continue;
                }
                _ => {}
            }
            lines.push(line);
        }
        Some(lines)
    }
}

/// A key of a shard.
fn key_in(node: &Node, shard: ShardId) -> String {
    let partition = node.redis_table().options.partition;
    let mut keys = (0..).map(|n| format!("key-{n}"));
    let found =
        keys.find(|key| node.placement().shard_of(slot_of(partition, key.as_bytes())) == shard);
    found.expect("every shard has keys")
}

/// Four nodes, with three replicas of each of four shards; a shard, its leader, and the node
/// that holds no replica of it.
async fn four() -> (Vec<Running>, ShardId, NodeId, NodeId) {
    let mut nodes: Vec<Running> = Vec::new();
    for _ in 0..4 {
        nodes.push(Running::start(nodes.first()).await);
    }
    let deadline = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < deadline, "never settled");
        sleep(Duration::from_millis(100)).await;
        let first = &nodes.first().expect("a node").node;
        let overview = first.overview().await.expect("an overview");
        let shards: Vec<_> = overview.shards.iter().filter(|shard| shard.shard < 4).collect();
        let is_settled = shards.iter().all(|shard| {
            let is_up = |replica: &breccia_node::ReplicaOverview| replica.lag == Some(0);
            shard.leader.is_some() && shard.replicas.len() == 3 && shard.replicas.iter().all(is_up)
        });
        let holders: BTreeSet<_> =
            shards.iter().flat_map(|shard| &shard.replicas).map(|replica| replica.node).collect();
        if !is_settled || holders.len() < 4 {
            continue;
        }
        let without = |shard: &breccia_node::ShardOverview| {
            let holds = |node: NodeId| shard.replicas.iter().any(|replica| replica.node == node);
            nodes.iter().map(Running::id).find(|node| !holds(*node))
        };
        // The first node is asked for the overview, and goes on.
        let found = shards.iter().find_map(|shard| {
            let leader = shard.leader.filter(|leader| *leader != first.id())?;
            Some((ShardId::new(shard.shard), leader, without(shard)?))
        });
        if let Some((shard, leader, without)) = found {
            return (nodes, shard, leader, without);
        }
    }
}

/// Follows slots from a node on, as a client does that knows this node only; how often it was
/// sent elsewhere.
async fn follow(from: &str, command: &str) -> usize {
    let deadline = Instant::now() + FOUND_WITHIN;
    let mut address = from.to_owned();
    let mut moves = 0;
    let mut told = Vec::new();
    loop {
        assert!(Instant::now() < deadline, "from {from} no leader was found: {told:?}");
        let reply = match Connection::following(&address).await {
            Some(mut connection) => {
                timeout(FOUND_WITHIN, connection.ask(command)).await.ok().flatten()
            }
            None => None,
        };
        told.push((address.clone(), reply.clone()));
        match reply.as_deref() {
            Some("+OK") => return moves,
            Some(moved) if moved.starts_with("-MOVED ") => {
                moves += 1;
                moved.rsplit(' ').next().expect("an address").clone_into(&mut address);
            }
            // The node is gone, or cannot answer now: the one that is known is asked again.
            _ => {
                from.clone_into(&mut address);
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// A review found that a node without a replica of a shard sent clients to the leader that it
/// had last heard of for as long as nothing was forwarded, however long that had been dead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_leader_died_a_client_that_follows_slots_finds_the_next_through_every_node() {
    let (mut nodes, shard, leader, without) = four().await;
    let key = key_in(&nodes.first().expect("a node").node, shard);
    let set = format!("SET {key} v");
    for node in &nodes {
        // Every node learns who leads, the one without a replica by forwarding.
        let mut plain = Connection::open(&node.address).await.expect("a connection");
        assert_eq!(plain.ask(&set).await.as_deref(), Some("+OK"));
        follow(&node.address, &set).await;
    }
    let at = nodes.iter().position(|node| node.id() == leader).expect("the leader");
    let dead = nodes.remove(at);
    let dead_address = dead.address.clone();
    dead.crash().await;
    // Once there is another leader, which a node with a replica knows first.
    let follower = nodes.iter().find(|node| node.id() != without).expect("a follower");
    let deadline = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < deadline, "no other leader");
        let mut plain = Connection::open(&follower.address).await.expect("a connection");
        if plain.ask(&set).await.as_deref() == Some("+OK") {
            break;
        }
    }
    let blind = nodes.iter().find(|node| node.id() == without).expect("it is there");
    follow(&blind.address, &set).await;
    for node in &nodes {
        follow(&node.address, &set).await;
    }
    // So it is when what was learned by forwarding is too old to count.
    let deadline = Instant::now() + PATIENCE;
    while blind.node.certain_leader(shard).is_some() {
        assert!(Instant::now() < deadline, "it is believed for ever");
        sleep(Duration::from_millis(50)).await;
    }
    let mut asking = Connection::open(&blind.address).await.expect("a connection");
    let map = asking.ask_all("CLUSTER NODES").await.expect("a map");
    let dead_node = map.iter().find(|line| line.contains(&dead_address)).expect("a member still");
    assert!(dead_node.ends_with("connected"), "it leads no slots: {map:?}");
    let slot = blind.node.placement().slot_range(shard).expect("slots");
    let next = nodes.iter().find(|node| node.node.leads(shard)).expect("the new leader");
    let line = map.iter().find(|line| line.contains(&next.address)).expect("its line");
    let leads = |range: &str| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        first.parse::<u16>().is_ok_and(|first| first <= *slot.start())
            && last.parse::<u16>().is_ok_and(|last| last >= *slot.end())
    };
    assert!(line.split(' ').any(leads), "the new leader leads {slot:?}: {map:?}");
    // Nobody is sent to the dead node any more, and where slots are is told without it.
    for node in &nodes {
        let mut aware = Connection::following(&node.address).await.expect("a connection");
        let reply = aware.ask(&set).await.expect("a reply");
        assert!(!reply.ends_with(&dead_address), "{reply}");
    }
    for node in nodes {
        node.stop.cancel();
        node.node.shutdown().await;
    }
}

/// The same, when the leader is alive and another leads: it is not asked in vain for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_leader_moved_a_client_that_follows_slots_finds_it_in_a_few_steps() {
    let (nodes, shard, leader, without) = four().await;
    let key = key_in(&nodes.first().expect("a node").node, shard);
    let set = format!("SET {key} v");
    let blind = nodes.iter().find(|node| node.id() == without).expect("it is there");
    let mut plain = Connection::open(&blind.address).await.expect("a connection");
    assert_eq!(plain.ask(&set).await.as_deref(), Some("+OK"));
    let old = nodes.iter().find(|node| node.id() == leader).expect("the leader");
    old.node.hand_over().await;
    let deadline = Instant::now() + PATIENCE;
    while old.node.leads(shard) {
        assert!(Instant::now() < deadline, "it is never handed over");
        sleep(Duration::from_millis(10)).await;
    }
    for node in &nodes {
        let moves = follow(&node.address, &set).await;
        assert!(moves <= 3, "{moves} times");
    }
    for node in nodes {
        node.stop.cancel();
        node.node.shutdown().await;
    }
}
