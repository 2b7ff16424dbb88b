//! What nodes know of each other and of their shards, and say of it.

use breccia_node::{Heard, MembershipKind, Node};

use crate::support::{Cluster, SHARDS, wait_until};

async fn a_silent_node_is_known(kind: MembershipKind) {
    let cluster = Cluster::start_with(3, |config| {
        if let Some(peering) = &mut config.peering {
            peering.membership = kind;
        }
    });
    let mut cluster = cluster.await;
    cluster.settled(3, 0).await;
    let hears = |node: &Node, heard: usize| {
        let watched = node.watched();
        watched.len() == 2
            && watched.iter().filter(|watched| watched.heard == Heard::Lately).count() == heard
    };
    wait_until("all hear of all", async || cluster.nodes.iter().all(|node| hears(node, 2))).await;

    let last = cluster.nodes.pop().expect("a node");
    let silent = last.id();
    last.shutdown().await;
    wait_until("the others miss it", async || cluster.nodes.iter().all(|node| hears(node, 1)))
        .await;
    let first = cluster.nodes.first().expect("a node");
    let overview = first.overview().await.expect("an overview");
    let node = overview.nodes.iter().find(|node| node.member.node == silent).expect("is a member");
    assert!(node.unreachable.is_some());
    assert!(matches!(node.heard, Some(Heard::Nothing { .. })), "{:?}", node.heard);
    let findings = first.doctor().await.expect("a doctor");
    let told = |text: &str| findings.iter().any(|finding| finding.message.contains(text));
    assert!(told("nothing is heard of it"), "{findings:?}");
    cluster.shut_down().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_gossip_know_who_is_silent() {
    a_silent_node_is_known(MembershipKind::Gossip).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_with_a_static_list_know_by_their_connections_who_is_silent() {
    a_silent_node_is_known(MembershipKind::Static).await;
}

/// A leader that has lost its majority stays one in its own eyes, until it hears of another.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_left_alone_says_that_nothing_is_led_and_is_not_ready() {
    let mut cluster = Cluster::start(3).await;
    cluster.settled(3, 0).await;
    let is_ready = async || cluster.nodes.iter().all(Node::is_ready);
    wait_until("all are ready", is_ready).await;
    let first = cluster.nodes.remove(0);
    for other in std::mem::take(&mut cluster.nodes) {
        // Hands over what it leads.
        other.shutdown().await;
    }
    wait_until("it is not ready", async || !first.is_ready()).await;
    wait_until("nothing is led", async || {
        let overview = first.overview().await.expect("an overview");
        overview.shards.iter().all(|shard| shard.leader.is_none())
    })
    .await;
    let findings = first.doctor().await.expect("a doctor");
    let leaderless = findings.iter().filter(|finding| finding.message.contains("has no leader"));
    let shards = usize::try_from(SHARDS).expect("few");
    assert_eq!(leaderless.count(), shards + 1, "{findings:?}");
    first.shutdown().await;
}
