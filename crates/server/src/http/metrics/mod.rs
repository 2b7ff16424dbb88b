//! What `/metrics` tells, in the OpenMetrics text format. Every name starts with
//! `breccia_`.

mod connections;
mod node;
mod requests;

use std::fmt;

use breccia_node::Node;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;

pub(crate) use self::connections::Connections;
use self::node::NodeCollector;
use self::requests::Requests;
pub(crate) use self::requests::measure;

/// The content type of the text format.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The metrics of one server.
pub(crate) struct Metrics {
    registry: Registry,
    requests: Requests,
}

impl Metrics {
    /// Registers the node's metrics, those of the connections and requests of this server,
    /// and those of other front ends.
    pub(crate) fn new(
        node: &Node,
        connections: Connections,
        others: Vec<Box<dyn Collector>>,
    ) -> Self {
        let mut registry = Registry::with_prefix("breccia");
        let requests = Requests::register(&mut registry);
        registry.register_collector(Box::new(connections));
        registry.register_collector(Box::new(NodeCollector::new(node.clone())));
        for other in others {
            registry.register_collector(other);
        }
        Self { registry, requests }
    }

    /// All metrics as text. Asks the storage engine, and so may wait for the disk.
    ///
    /// # Errors
    /// If a collector fails.
    pub(crate) fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
