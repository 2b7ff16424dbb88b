//! What nodes tell each other by gossip: that they live, where they are, how loaded they are.
//!
//! What is agreed on is in the meta shard; gossip is what still works when that cannot be
//! reached, because every node has come back at another address, say.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use breccia_membership::{
    GossipConfig, GossipMembership, GossipTiming, Incarnation, Load, Membership, NodeInfo, View,
};
use breccia_replication::raft::Leadership;
use breccia_service::meta::ClusterState;
use breccia_types::{Member, ShardId};
use tokio::net::UdpSocket;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::maintenance::disk_space;
use crate::replicas::ShardMap;

/// How often a node tells how loaded it is.
const LOAD_INTERVAL: Duration = Duration::from_secs(10);

/// What other nodes say of themselves.
pub(crate) type Views = watch::Receiver<Arc<View>>;

/// Starts to gossip, on the port number on which the node serves other nodes. Without gossip
/// the node works all the same, so that what goes wrong here is only told.
pub(crate) async fn start(
    own: &Member,
    listening: SocketAddr,
    state: &ClusterState,
    join: &[String],
) -> Option<Arc<GossipMembership>> {
    let told = async {
        let resolved = tokio::net::lookup_host(&own.peer).await?.next();
        let address = resolved.ok_or_else(|| std::io::Error::other("it resolves to nothing"))?;
        std::io::Result::Ok((address, UdpSocket::bind(listening).await?))
    };
    let (address, socket) = match told.await {
        Ok(told) => told,
        Err(error) => {
            tracing::warn!(%error, address = %own.peer, "no gossip: it cannot be listened for");
            return None;
        }
    };
    let others = state.members.values().filter(|member| member.node != own.node);
    let mut seeds: Vec<String> = others.map(|member| member.peer.clone()).collect();
    seeds.extend(join.iter().cloned());
    let config = GossipConfig {
        cluster: state.id.to_string(),
        node: own.node,
        incarnation: Incarnation::new(own.incarnation),
        info: NodeInfo { zone: own.zone.clone(), ..NodeInfo::at(address) },
        seeds,
        timing: GossipTiming::default(),
    };
    match GossipMembership::start(config, socket).await {
        Ok(gossip) => Some(Arc::new(gossip)),
        Err(error) => {
            tracing::warn!(%error, "no gossip");
            None
        }
    }
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
    gossip: Arc<GossipMembership>,
    shards: ShardMap,
    data_dir: Option<PathBuf>,
    own: watch::Receiver<Member>,
    stop: CancellationToken,
) {
    loop {
        gossip.set_load(load(&shards, data_dir.as_ref()));
        let member = own.borrow().clone();
        gossip.set_client_addresses(member.http.parse().ok(), member.resp.parse().ok());
        if stop.run_until_cancelled(tokio::time::sleep(LOAD_INTERVAL)).await.is_none() {
            gossip.leave().await;
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
