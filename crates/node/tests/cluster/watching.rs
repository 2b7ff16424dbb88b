//! What nodes know of each other without asking.

use breccia_node::{Heard, MembershipKind, Node};

use crate::support::{Cluster, wait_until};

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
