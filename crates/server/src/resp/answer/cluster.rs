//! CLUSTER: which node leads which slots, as cluster-aware clients ask for it.
//!
//! Of itself the node announces the address that the client connected to, so that a client
//! which came through a forwarded port comes back the same way; of others, where they say
//! that clients reach them.

use std::collections::BTreeMap;
use std::sync::Arc;

use breccia_node::Placement;
use breccia_types::id::SLOT_COUNT;
use breccia_types::{Member, NodeId, ShardId};

use super::super::clients::Client;
use super::super::command::ClusterQuery;
use super::super::encoder::Encoder;
use super::super::front::Front;

/// Answers a question about the cluster. Whoever asks where slots are is told from now on
/// when they move, instead of having commands forwarded.
pub(crate) async fn encode(
    encoder: &mut Encoder,
    front: &Front,
    client: &Client,
    query: ClusterQuery,
) {
    front.node.find_leaders().await;
    let map = SlotMap::new(front, client);
    match query {
        ClusterQuery::Info => encoder.verbatim(&map.info(front)),
        ClusterQuery::MyId => encoder.bulk(front.node.id().to_cluster_name().as_bytes()),
        ClusterQuery::Slots => {
            client.set_follows_slots();
            map.encode_slots(encoder);
        }
        ClusterQuery::Shards => {
            client.set_follows_slots();
            map.encode_shards(encoder);
        }
        ClusterQuery::Nodes => {
            client.set_follows_slots();
            encoder.verbatim(&map.nodes());
        }
        ClusterQuery::NoReplicas => encoder.array(0),
    }
}

/// Where slots are, at one moment.
struct SlotMap {
    own: NodeId,
    placement: Arc<Placement>,
    nodes: BTreeMap<NodeId, Endpoint>,
    leaders: BTreeMap<ShardId, NodeId>,
}

/// Where clients reach a node.
struct Endpoint {
    ip: String,
    port: u16,
    /// Where other nodes reach it.
    bus_port: u16,
}

/// Some slots and the nodes that hold them, their leader first.
struct Range {
    first: u16,
    last: u16,
    nodes: Vec<NodeId>,
}

impl SlotMap {
    fn new(front: &Front, client: &Client) -> Self {
        let node = &front.node;
        let placement = node.placement();
        let known = node.members().into_iter();
        let mut nodes: BTreeMap<_, _> =
            known.filter_map(|member| Some((member.node, Endpoint::of(&member)?))).collect();
        let own = Endpoint {
            ip: client.local_address.ip().to_string(),
            port: client.local_address.port(),
            bus_port: nodes.get(&node.id()).map_or(0, |endpoint| endpoint.bus_port),
        };
        nodes.insert(node.id(), own);
        let leaders = placement.shards().map(|(shard, _)| {
            let leader = node.certain_leader(shard).filter(|leader| nodes.contains_key(leader));
            // This node forwards until it knows better, and then says so with MOVED.
            (shard, leader.unwrap_or_else(|| node.id()))
        });
        let leaders = leaders.collect();
        Self { own: node.id(), placement, nodes, leaders }
    }

    /// All slots in order, those of neighbouring shards on the same nodes together.
    fn ranges(&self) -> Vec<Range> {
        let mut ranges: Vec<Range> = Vec::new();
        for (shard, slots) in self.placement.shards() {
            let leader = self.leaders.get(&shard).copied();
            let holders = self.placement.replicas(shard).iter().map(|place| place.node);
            let mut others: Vec<_> = holders.filter(|node| Some(*node) != leader).collect();
            others.sort_unstable();
            let nodes = leader.into_iter().chain(others);
            let nodes: Vec<_> = nodes.filter(|node| self.nodes.contains_key(node)).collect();
            match ranges.last_mut() {
                Some(last) if last.nodes == nodes => last.last = *slots.end(),
                _ => ranges.push(Range { first: *slots.start(), last: *slots.end(), nodes }),
            }
        }
        ranges
    }

    fn info(&self, front: &Front) -> String {
        let epoch = self.placement.epoch().get();
        let state = if front.node.is_ready() { "ok" } else { "fail" };
        let mut leading: Vec<_> = self.leaders.values().collect();
        leading.sort_unstable();
        leading.dedup();
        [
            format!("cluster_state:{state}"),
            format!("cluster_slots_assigned:{SLOT_COUNT}"),
            format!("cluster_slots_ok:{SLOT_COUNT}"),
            "cluster_slots_pfail:0".to_owned(),
            "cluster_slots_fail:0".to_owned(),
            format!("cluster_known_nodes:{}", self.nodes.len()),
            format!("cluster_size:{}", leading.len()),
            format!("cluster_current_epoch:{epoch}"),
            format!("cluster_my_epoch:{epoch}"),
            "cluster_stats_messages_sent:0".to_owned(),
            "cluster_stats_messages_received:0".to_owned(),
            "total_cluster_links_buffer_limit_exceeded:0".to_owned(),
            String::new(),
        ]
        .join("\r\n")
    }

    fn nodes(&self) -> String {
        let epoch = self.placement.epoch().get();
        let ranges = self.ranges();
        let line = |(node, endpoint): (&NodeId, &Endpoint)| {
            let id = node.to_cluster_name();
            let Endpoint { ip, port, bus_port } = endpoint;
            let flags = if *node == self.own { "myself,master" } else { "master" };
            let led = ranges.iter().filter(|range| range.nodes.first() == Some(node));
            let slots: String =
                led.map(|range| format!(" {}-{}", range.first, range.last)).collect();
            format!("{id} {ip}:{port}@{bus_port} {flags} - 0 0 {epoch} connected{slots}\n")
        };
        self.nodes.iter().map(line).collect()
    }

    fn encode_slots(&self, encoder: &mut Encoder) {
        let ranges = self.ranges();
        encoder.array(ranges.len());
        for range in ranges {
            encoder.array(2 + range.nodes.len());
            encoder.integer(i64::from(range.first));
            encoder.integer(i64::from(range.last));
            for node in &range.nodes {
                let Some(endpoint) = self.nodes.get(node) else { continue };
                encoder.array(4);
                encoder.bulk(endpoint.ip.as_bytes());
                encoder.integer(i64::from(endpoint.port));
                encoder.bulk(node.to_cluster_name().as_bytes());
                encoder.array(0);
            }
        }
    }

    fn encode_shards(&self, encoder: &mut Encoder) {
        let ranges = self.ranges();
        encoder.array(ranges.len());
        for range in ranges {
            encoder.map(2);
            encoder.bulk(b"slots");
            encoder.array(2);
            encoder.integer(i64::from(range.first));
            encoder.integer(i64::from(range.last));
            encoder.bulk(b"nodes");
            encoder.array(range.nodes.len());
            for (at, node) in range.nodes.iter().enumerate() {
                let Some(Endpoint { ip, port, .. }) = self.nodes.get(node) else { continue };
                let id = node.to_cluster_name();
                let role = if at == 0 { "master" } else { "replica" };
                encoder.map(7);
                for (name, value) in
                    [("id", id.as_str()), ("ip", ip), ("endpoint", ip), ("role", role)]
                {
                    encoder.bulk(name.as_bytes());
                    encoder.bulk(value.as_bytes());
                }
                encoder.bulk(b"port");
                encoder.integer(i64::from(*port));
                encoder.bulk(b"replication-offset");
                encoder.integer(0);
                encoder.bulk(b"health");
                encoder.bulk(b"online");
            }
        }
    }
}

impl Endpoint {
    /// `None` if the node has not said yet where clients reach it.
    fn of(member: &Member) -> Option<Self> {
        let (ip, port) = member.resp.rsplit_once(':')?;
        let bus_port = member.peer.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        let ip = ip.trim_matches(['[', ']']).to_owned();
        Some(Self { ip, port: port.parse().ok()?, bus_port: bus_port.unwrap_or(0) })
    }
}
