//! Membership by gossip: nodes tell each other what they have heard.
//!
//! chitchat's Scuttlebutt carries what nodes say of themselves, and its phi-accrual detector
//! (Hayashibara et al., "The phi accrual failure detector", SRDS 2004) says who has fallen
//! silent. This module adds what a database needs on top: silence means *suspect* before it
//! means *dead*; a node that leaves says so; only the latest run of a node counts; and nodes
//! that have been apart for longer than chitchat remembers find each other again.
//!
//! chitchat forgets a silent run soon ([`GossipTiming::run_kept`]), because every datagram
//! names every run: a process that restarts every few seconds must not fill it. The table
//! remembers nodes, not runs, and for longer.

mod fields;
mod service;
mod udp;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use breccia_types::NodeId;
use chitchat::transport::Transport;
use chitchat::{ChitchatConfig, ChitchatId, FailureDetectorConfig, spawn_chitchat};
use thiserror::Error;
use tokio::net::UdpSocket;
use tokio::sync::watch;

use crate::membership::Membership;
use crate::view::{Incarnation, Load, NodeInfo, View};
use service::{Service, Told};
use udp::BoundUdp;

/// Who gossips, with whom.
#[derive(Debug, Clone)]
pub struct GossipConfig {
    /// The cluster's identity. Nodes of other clusters are not heard.
    pub cluster: String,
    /// This node.
    pub node: NodeId,
    /// This run of it; larger than any before.
    pub incarnation: Incarnation,
    /// What it says of itself. The others gossip with its `peer_addr`.
    pub info: NodeInfo,
    /// Some nodes of the cluster, `host:port`. Names are resolved again every minute. None
    /// for a cluster's first node.
    pub seeds: Vec<String>,
    /// When silence means something.
    pub timing: GossipTiming,
}

/// How often nodes gossip, and when silence means something.
#[derive(Debug, Clone, Copy)]
pub struct GossipTiming {
    /// How often a node gossips, each time with up to three others; 500 ms by default.
    pub gossip_interval: Duration,
    /// How many times longer than usual a node may be silent before it is suspected; 8 by
    /// default, which is about 2.5 s among up to five nodes and 3.7 s among thirty.
    pub phi_threshold: f64,
    /// How long a node is suspected before it is dead; 5 s by default.
    pub dead_after: Duration,
    /// How long a dead node is remembered; 24 h by default.
    pub forget_after: Duration,
    /// How long chitchat keeps a run that is silent; 2 min by default.
    pub run_kept: Duration,
}

impl Default for GossipTiming {
    fn default() -> Self {
        Self {
            gossip_interval: Duration::from_millis(500),
            phi_threshold: 8.0,
            dead_after: Duration::from_secs(5),
            forget_after: Duration::from_secs(24 * 60 * 60),
            run_kept: Duration::from_secs(2 * 60),
        }
    }
}

/// Why gossip could not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum GossipError {
    /// The library did not come up.
    #[error("gossip could not start")]
    Start {
        /// What it says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Membership by gossip. When it is dropped gossip stops, and the others find out by silence.
#[derive(Debug)]
pub struct GossipMembership {
    view: watch::Receiver<Arc<View>>,
    told: watch::Sender<Told>,
}

impl GossipMembership {
    /// Starts to gossip through a socket, which should be bound to the port number on which
    /// peers are served by TCP.
    ///
    /// # Errors
    /// [`GossipError::Start`].
    pub async fn start(config: GossipConfig, socket: UdpSocket) -> Result<Self, GossipError> {
        Self::start_on(config, &BoundUdp::new(socket)).await
    }

    async fn start_on(
        config: GossipConfig,
        transport: &dyn Transport,
    ) -> Result<Self, GossipError> {
        let fields = fields::of(&config.info);
        let handle = spawn_chitchat(chitchat_config(&config), fields, transport)
            .await
            .map_err(|error| GossipError::Start { source: error.into() })?;
        let (told, heard) = watch::channel(Told { info: config.info.clone(), leaves: false });
        let (service, view) = Service::new(config, handle, heard);
        tokio::spawn(service.run());
        Ok(Self { view, told })
    }
}

#[async_trait]
impl Membership for GossipMembership {
    fn watch(&self) -> watch::Receiver<Arc<View>> {
        self.view.clone()
    }

    fn set_client_addresses(&self, http: Option<SocketAddr>, resp: Option<SocketAddr>) {
        self.told.send_modify(|told| {
            told.info.http_addr = http;
            told.info.resp_addr = resp;
        });
    }

    fn set_load(&self, load: Load) {
        self.told.send_if_modified(|told| std::mem::replace(&mut told.info.load, load) != load);
    }

    async fn leave(&self) {
        self.told.send_modify(|told| told.leaves = true);
        // The view ends with the service, whether that has left or has failed.
        let _ = self.view.clone().wait_for(|_| false).await;
    }
}

fn chitchat_config(config: &GossipConfig) -> ChitchatConfig {
    let timing = config.timing;
    let peer_addr = config.info.peer_addr;
    ChitchatConfig {
        chitchat_id: ChitchatId::new(
            config.node.get().to_string(),
            config.incarnation.get(),
            peer_addr,
        ),
        cluster_id: config.cluster.clone(),
        gossip_interval: timing.gossip_interval,
        listen_addr: peer_addr,
        seed_nodes: config.seeds.clone(),
        failure_detector_config: FailureDetectorConfig {
            phi_threshold: timing.phi_threshold,
            initial_interval: timing.gossip_interval,
            dead_node_grace_period: timing.run_kept,
            ..FailureDetectorConfig::default()
        },
        marked_for_deletion_grace_period: timing.run_kept,
        catchup_callback: None,
        extra_liveness_predicate: None,
    }
}

#[cfg(test)]
mod tests;
