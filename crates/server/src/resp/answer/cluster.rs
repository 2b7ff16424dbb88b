//! CLUSTER: the node as a cluster of one. It announces the address that the client
//! connected to, so that cluster-aware clients come back the same way.

use breccia_types::id::SLOT_COUNT;

use super::super::clients::Client;
use super::super::command::ClusterQuery;
use super::super::encoder::Encoder;
use super::super::front::Front;

const LAST_SLOT: u16 = SLOT_COUNT - 1;

/// Answers a question about the cluster.
pub(crate) fn encode(encoder: &mut Encoder, front: &Front, client: &Client, query: ClusterQuery) {
    let id = front.node.id().to_cluster_name();
    match query {
        ClusterQuery::Info => encoder.verbatim(&info(front)),
        ClusterQuery::MyId => encoder.bulk(id.as_bytes()),
        ClusterQuery::Slots => slots(encoder, client, &id),
        ClusterQuery::Shards => shards(encoder, client, &id),
        ClusterQuery::Nodes => encoder.verbatim(&nodes(front, client, &id)),
        ClusterQuery::NoReplicas => encoder.array(0),
    }
}

fn info(front: &Front) -> String {
    let epoch = front.node.placement().epoch().get();
    let state = if front.node.is_ready() { "ok" } else { "fail" };
    [
        format!("cluster_state:{state}"),
        format!("cluster_slots_assigned:{SLOT_COUNT}"),
        format!("cluster_slots_ok:{SLOT_COUNT}"),
        "cluster_slots_pfail:0".to_owned(),
        "cluster_slots_fail:0".to_owned(),
        "cluster_known_nodes:1".to_owned(),
        "cluster_size:1".to_owned(),
        format!("cluster_current_epoch:{epoch}"),
        format!("cluster_my_epoch:{epoch}"),
        "cluster_stats_messages_sent:0".to_owned(),
        "cluster_stats_messages_received:0".to_owned(),
        "total_cluster_links_buffer_limit_exceeded:0".to_owned(),
        String::new(),
    ]
    .join("\r\n")
}

fn nodes(front: &Front, client: &Client, id: &str) -> String {
    let epoch = front.node.placement().epoch().get();
    let (ip, port) = (client.local_address.ip(), client.local_address.port());
    format!("{id} {ip}:{port}@0 myself,master - 0 0 {epoch} connected 0-{LAST_SLOT}\n")
}

fn slots(encoder: &mut Encoder, client: &Client, id: &str) {
    encoder.array(1);
    encoder.array(3);
    encoder.integer(0);
    encoder.integer(i64::from(LAST_SLOT));
    encoder.array(4);
    encoder.bulk(client.local_address.ip().to_string().as_bytes());
    encoder.integer(i64::from(client.local_address.port()));
    encoder.bulk(id.as_bytes());
    encoder.array(0);
}

fn shards(encoder: &mut Encoder, client: &Client, id: &str) {
    let ip = client.local_address.ip().to_string();
    encoder.array(1);
    encoder.map(2);
    encoder.bulk(b"slots");
    encoder.array(2);
    encoder.integer(0);
    encoder.integer(i64::from(LAST_SLOT));
    encoder.bulk(b"nodes");
    encoder.array(1);
    encoder.map(7);
    for (name, value) in [("id", id), ("ip", &ip), ("endpoint", &ip), ("role", "master")] {
        encoder.bulk(name.as_bytes());
        encoder.bulk(value.as_bytes());
    }
    encoder.bulk(b"port");
    encoder.integer(i64::from(client.local_address.port()));
    encoder.bulk(b"replication-offset");
    encoder.integer(0);
    encoder.bulk(b"health");
    encoder.bulk(b"online");
}
