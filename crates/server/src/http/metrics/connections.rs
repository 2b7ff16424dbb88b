//! How many connections there are.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;
use tokio::sync::Semaphore;

/// The connections of one listener.
#[derive(Debug)]
pub(crate) struct Connections {
    /// One permit for each connection that there may still be.
    pub(crate) free: Arc<Semaphore>,
    /// The most connections.
    pub(crate) max: usize,
}

impl Collector for Connections {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let open = self.max.saturating_sub(self.free.available_permits());
        for (name, help, value) in [
            ("http_connections", "Open connections of gRPC and REST", open),
            ("http_connections_max", "The most connections of gRPC and REST", self.max),
        ] {
            let gauge = ConstGauge::new(u64::try_from(value).unwrap_or(u64::MAX));
            let metric = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
            gauge.encode(metric)?;
        }
        Ok(())
    }
}
