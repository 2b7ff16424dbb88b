use std::ops::Range;

use chitchat::transport::ChannelTransport;
use tokio::time::{Instant, timeout};

use super::*;
use crate::view::{Member, MemberState};

const TIMING: GossipTiming = GossipTiming {
    gossip_interval: Duration::from_millis(50),
    phi_threshold: 8.0,
    dead_after: Duration::from_secs(1),
    forget_after: Duration::from_secs(600),
    run_kept: Duration::from_secs(10),
};
/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(60);

fn addr(node: u64) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 1_000 + u16::try_from(node).expect("small")))
}

fn config(node: u64, incarnation: u64, seed: Option<u64>) -> GossipConfig {
    GossipConfig {
        cluster: "one".to_owned(),
        node: NodeId::new(node),
        incarnation: Incarnation::new(incarnation),
        info: NodeInfo { zone: format!("zone-{node}"), ..NodeInfo::at(addr(node)) },
        seeds: seed.map(|seed| addr(seed).to_string()).into_iter().collect(),
        timing: TIMING,
    }
}

/// Nodes that gossip in memory, in paused time.
#[derive(Default)]
struct Net(ChannelTransport);

impl Net {
    async fn start(&self, config: GossipConfig) -> GossipMembership {
        // The run before may not have let go of its address yet.
        loop {
            match GossipMembership::start_on(config.clone(), &self.0).await {
                Ok(membership) => return membership,
                Err(_) => tokio::time::sleep(TIMING.gossip_interval).await,
            }
        }
    }

    /// Nodes 1 to `count`, which all know node 1, and each other by now.
    async fn cluster(&self, count: u64) -> Vec<GossipMembership> {
        let mut nodes = Vec::new();
        for node in 1..=count {
            let seed = (node != 1).then_some(1);
            nodes.push(self.start(config(node, 1, seed)).await);
        }
        for node in &nodes {
            wait(node, |view| view.alive().count() == nodes.len()).await;
        }
        nodes
    }

    async fn part(&self, nodes: Range<u64>, from: u64) {
        for node in nodes {
            self.0.remove_link(addr(node), addr(from)).await;
        }
    }

    async fn join(&self, nodes: Range<u64>, to: u64) {
        for node in nodes {
            self.0.add_link(addr(node), addr(to)).await;
        }
    }
}

/// Waits until the view is as it should be; how long it took.
async fn wait(node: &GossipMembership, what: impl Fn(&View) -> bool) -> Duration {
    let start = Instant::now();
    let mut view = node.watch();
    let seen = timeout(PATIENCE, view.wait_for(|view| what(view))).await;
    if let Err(error) = seen.map(drop) {
        panic!("{error}: {:#?}", node.watch().borrow());
    }
    start.elapsed()
}

fn is_dead(view: &View, node: u64) -> bool {
    view.dead().any(|(dead, _)| dead == NodeId::new(node))
}

fn is_alive(view: &View, node: u64) -> bool {
    view.is_alive(NodeId::new(node))
}

fn member(node: &GossipMembership, of: u64) -> Member {
    node.watch().borrow().members[&NodeId::new(of)].clone()
}

#[tokio::test(start_paused = true)]
async fn three_nodes_see_each_other_and_what_they_say_within_twenty_intervals() {
    let start = Instant::now();
    let net = Net::default();
    let nodes = net.cluster(3).await;
    let http = Some(SocketAddr::from(([127, 0, 0, 1], 80)));
    let load = Load { shards: 5, leaders: 2, disk_free_bytes: 7, disk_bytes: 9 };
    nodes[2].set_client_addresses(http, None);
    nodes[2].set_load(load);
    for node in &nodes {
        wait(node, |view| {
            let info = &view.members[&NodeId::new(3)].info;
            (info.http_addr, info.load) == (http, load)
        })
        .await;
        assert_eq!(member(node, 3).info.zone, "zone-3");
        assert_eq!(member(node, 3).info.peer_addr, addr(3));
    }
    let took = start.elapsed();
    assert!(took <= TIMING.gossip_interval * 20, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_dies_is_suspected_within_twenty_intervals_and_then_dead() {
    let net = Net::default();
    let mut nodes = net.cluster(3).await;
    tokio::time::sleep(PATIENCE).await;
    drop(nodes.pop());
    for node in &nodes {
        let took = wait(node, |view| !is_alive(view, 3)).await;
        assert!(took <= TIMING.gossip_interval * 20, "{took:?}");
        assert!(matches!(member(node, 3).state, MemberState::Suspect { .. }));
    }
    for node in &nodes {
        let took = wait(node, |view| is_dead(view, 3)).await;
        assert!(took <= TIMING.dead_after + TIMING.gossip_interval * 2, "{took:?}");
        assert!(is_alive(&node.watch().borrow(), 1) && is_alive(&node.watch().borrow(), 2));
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_leaves_is_dead_for_the_others_at_once_and_its_own_view_ends() {
    let net = Net::default();
    let nodes = net.cluster(3).await;
    let mut own = nodes[2].watch();
    nodes[2].leave().await;
    for node in &nodes[..2] {
        let took = wait(node, |view| is_dead(view, 3)).await;
        assert!(took <= TIMING.gossip_interval * 2, "{took:?}");
    }
    assert!(own.wait_for(|_| false).await.is_err());
    nodes[2].leave().await;
}

#[tokio::test(start_paused = true)]
async fn a_node_that_starts_again_replaces_its_old_self() {
    let net = Net::default();
    let mut nodes = net.cluster(3).await;
    nodes.remove(1).leave().await;
    let next = net.start(config(2, 2, Some(1))).await;
    nodes.push(next);
    for node in &nodes {
        wait(node, |view| is_alive(view, 2) && view.alive().count() == 3).await;
        assert_eq!(member(node, 2).incarnation, Incarnation::new(2));
    }
    tokio::time::sleep(PATIENCE).await;
    for node in &nodes {
        assert_eq!(member(node, 2).incarnation, Incarnation::new(2));
        assert_eq!(node.watch().borrow().members.len(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_of_another_cluster_is_never_seen() {
    let net = Net::default();
    let stranger = GossipConfig { cluster: "two".to_owned(), ..config(9, 1, Some(1)) };
    let stranger = net.start(stranger).await;
    let nodes = net.cluster(2).await;
    let mut views = [nodes[0].watch(), nodes[1].watch(), stranger.watch()];
    let seen = |view: &View| view.members.len() > 2 || view.members.contains_key(&NodeId::new(9));
    let [first, second, third] = &mut views;
    tokio::select! {
        _ = first.wait_for(|view| seen(view)) => panic!("the first sees the stranger"),
        _ = second.wait_for(|view| seen(view)) => panic!("the second sees the stranger"),
        _ = third.wait_for(|view| view.members.len() > 1) => panic!("the stranger sees them"),
        () = tokio::time::sleep(PATIENCE) => {}
    }
}

#[tokio::test(start_paused = true)]
async fn nodes_that_were_apart_for_longer_than_their_runs_are_kept_find_each_other_again() {
    let net = Net::default();
    let nodes = net.cluster(4).await;
    net.part(1..3, 3).await;
    net.part(1..3, 4).await;
    for node in &nodes[..2] {
        wait(node, |view| is_dead(view, 3) && is_dead(view, 4)).await;
    }
    tokio::time::sleep(TIMING.run_kept * 4).await;
    assert_eq!(nodes[0].watch().borrow().alive().count(), 2);
    net.join(1..3, 3).await;
    net.join(1..3, 4).await;
    for node in &nodes {
        wait(node, |view| view.alive().count() == 4).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_that_starts_again_and_again_does_not_make_the_others_grow() {
    let net = Net::default();
    let nodes = net.cluster(2).await;
    let mut seen = net.0.statistics();
    for incarnation in 1..200 {
        let flapping = net.start(config(3, incarnation, Some(1))).await;
        wait(&nodes[0], |view| {
            let member = view.members.get(&NodeId::new(3));
            member.is_some_and(|member| {
                member.incarnation == Incarnation::new(incarnation)
                    && member.state == MemberState::Alive
            })
        })
        .await;
        drop(flapping);
        tokio::time::sleep(TIMING.gossip_interval * 10).await;
        assert_eq!(nodes[0].watch().borrow().members.len(), 3);
        // Every message names every run that is still kept.
        let now = net.0.statistics();
        let messages = now.num_messages_total - seen.num_messages_total;
        let mean = (now.num_bytes_total - seen.num_bytes_total) / messages;
        assert!(mean < 1_000, "{mean} bytes per message after {incarnation} runs");
        seen = now;
    }
}

#[tokio::test]
async fn nodes_meet_and_miss_each_other_by_udp() {
    let mut nodes = Vec::new();
    let mut seeds = Vec::new();
    for node in 1..=3 {
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
        let peer_addr = socket.local_addr().expect("bound");
        let config = GossipConfig {
            info: NodeInfo::at(peer_addr),
            seeds: seeds.clone(),
            ..config(node, 1, None)
        };
        seeds.push(peer_addr.to_string());
        nodes.push(GossipMembership::start(config, socket).await.expect("started"));
    }
    for node in &nodes {
        wait(node, |view| view.alive().count() == 3).await;
    }
    drop(nodes.pop());
    for node in &nodes {
        wait(node, |view| is_dead(view, 3)).await;
    }
    // What is not gossip is not minded.
    let stray = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
    stray.send_to(b"hello", &seeds[0]).await.expect("sent");
    nodes[1].leave().await;
    wait(&nodes[0], |view| is_dead(view, 2)).await;
}
