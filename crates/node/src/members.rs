//! The other nodes, as the transport is told of them, and this node, as they are.

use std::sync::Arc;
use std::time::Duration;

use breccia_membership::View;
use breccia_service::meta::{ClusterState, MetaRefusal, MetaReply, MetaWrite};
use breccia_transport::tcp::Peers;
use breccia_types::{Member, NodeId};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::cluster::ClusterView;
use crate::health::NodeHealth;
use crate::membership::{Views, address_of};
use crate::meta::MetaLog;

/// The pause before the node tries again to tell the others of itself.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Keeps the transport's address book as the cluster and the membership know it, until stopped.
pub(crate) async fn follow_addresses(
    node: NodeId,
    cluster: Arc<ClusterView>,
    peers: Peers,
    mut views: Option<Views>,
    stop: CancellationToken,
) {
    let mut changes = cluster.changes();
    loop {
        if let Some(state) = cluster.state() {
            let view = views.as_ref().map(|views| Arc::clone(&views.borrow()));
            take_over(node, &state, view.as_deref(), &peers);
        }
        let seen = async {
            let ended = match &mut views {
                Some(views) => views.changed().await.is_err(),
                None => true,
            };
            if ended {
                std::future::pending::<()>().await;
            }
        };
        let next = async {
            tokio::select! {
                changed = changes.changed() => changed.is_ok(),
                () = seen => true,
            }
        };
        if stop.run_until_cancelled(next).await != Some(true) {
            return;
        }
    }
}

/// Tells the transport of every member, and lets it forget who is none.
pub(crate) fn take_over(node: NodeId, state: &ClusterState, view: Option<&View>, peers: &Peers) {
    for member in state.members.values().filter(|member| member.node != node) {
        let address = address_of(member, view);
        if !address.is_empty() && peers.address(member.node).as_ref() != Some(&address) {
            peers.set(member.node, address);
        }
    }
    for (known, _) in peers.all() {
        if !state.members.contains_key(&known) && state.members.contains_key(&node) {
            peers.remove(known);
        }
    }
}

/// Tells the others of this run of the node and of its addresses, and again whenever they
/// change, until stopped.
pub(crate) async fn register(
    mut own: watch::Receiver<Member>,
    meta: MetaLog,
    health: Arc<NodeHealth>,
    stop: CancellationToken,
) {
    loop {
        let member = own.borrow_and_update().clone();
        let registering = register_once(&meta, member, &health);
        let Some(is_done) = stop.run_until_cancelled(registering).await else { return };
        let next = async {
            if is_done {
                return own.changed().await.is_ok();
            }
            tokio::time::sleep(RETRY_PAUSE).await;
            true
        };
        if stop.run_until_cancelled(next).await != Some(true) {
            return;
        }
    }
}

/// Whether the others know, or never will.
async fn register_once(meta: &MetaLog, member: Member, health: &NodeHealth) -> bool {
    let is_as_known = |known: Member| Member { status: member.status, ..known } == member;
    if meta.cluster.member(member.node).is_some_and(is_as_known) {
        return true;
    }
    let incarnation = member.incarnation;
    match meta.change(&MetaWrite::Register { member }).await {
        Ok(MetaReply::Refused { refusal: MetaRefusal::StaleIncarnation { known } }) => {
            health.fail(format!(
                "this is run {incarnation} of the node, and the cluster knows run {known}: the \
                 data directory is a copy, or was restored from one; start this node with an \
                 empty data directory and --join"
            ));
            true
        }
        Ok(_) => true,
        Err(error) => {
            tracing::debug!(%error, "the cluster does not know of this run of the node yet");
            false
        }
    }
}
