//! The log of the meta shard, as the parts of a node change what all nodes agree on.

use std::sync::Arc;
use std::time::Duration;

use breccia_router::{Consistency, Router, ShardRead};
use breccia_service::meta::{self, MetaReply, MetaWrite};
use breccia_types::limits::REQUEST_DEADLINE_DEFAULT;
use breccia_types::{Command, RequestError, RequestId, ShardId};
use bytes::Bytes;
use tokio::time::Instant;

use crate::cluster::ClusterView;
use crate::write::applied;

/// How long this node's own replica may take to follow what it has been told is agreed on.
const FOLLOWED_WITHIN: Duration = Duration::from_secs(10);

/// Changes what all nodes agree on.
#[derive(Clone)]
pub(crate) struct MetaLog {
    pub(crate) router: Router,
    pub(crate) cluster: Arc<ClusterView>,
}

impl MetaLog {
    /// Makes a change, once, wherever the meta shard is led. It is visible on this node when
    /// this returns.
    pub(crate) async fn change(&self, write: &MetaWrite) -> Result<MetaReply, RequestError> {
        let request_id = Some(RequestId::new(rand::random()));
        let payload = meta::encode_write(write);
        let command = Command { service: meta::SERVICE_ID, request_id, payload };
        let deadline = Instant::now() + REQUEST_DEADLINE_DEFAULT;
        let outcomes = self.router.write(ShardId::META, vec![command], deadline).await?;
        let reply = applied(ShardId::META, outcomes.into_iter().next())?;
        let reply = meta::decode_reply(&reply).map_err(|error| unexpected(&error))?;
        self.refresh().await?;
        Ok(reply)
    }

    /// Waits until this node knows everything that was agreed on before.
    pub(crate) async fn refresh(&self) -> Result<(), RequestError> {
        let read = ShardRead {
            service: meta::SERVICE_ID,
            request: Bytes::new(),
            consistency: Consistency::Linearizable,
        };
        let deadline = Instant::now() + REQUEST_DEADLINE_DEFAULT;
        let answer = self.router.read(ShardId::META, read, deadline).await?;
        let applied = meta::decode_applied(&answer).map_err(|error| unexpected(&error))?;
        let has_followed = self.cluster.wait_until(FOLLOWED_WITHIN, |s| s.applied >= applied).await;
        if has_followed {
            return Ok(());
        }
        let reason = "this node is behind with what the cluster has agreed on".to_owned();
        Err(RequestError::ShardUnavailable { shard: ShardId::META, reason })
    }
}

/// The meta shard answered what it should not have.
pub(crate) fn unexpected(found: &impl std::fmt::Debug) -> RequestError {
    RequestError::Internal { reason: format!("the meta shard answered {found:?}") }
}
