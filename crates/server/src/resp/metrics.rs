//! What this front end has done, as numbers that INFO and `/metrics` read.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

use super::table;

/// Counters of this front end. Cheap to clone: all clones count together.
#[derive(Clone)]
pub struct Metrics(Arc<Counters>);

struct Counters {
    commands: Vec<AtomicU64>,
    unknown: AtomicU64,
    errors: AtomicU64,
    connections: AtomicU64,
    connected: AtomicU64,
    refused: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut commands = Vec::new();
        commands.resize_with(table::ROWS_MAX, AtomicU64::default);
        Self(Arc::new(Counters {
            commands,
            unknown: AtomicU64::default(),
            errors: AtomicU64::default(),
            connections: AtomicU64::default(),
            connected: AtomicU64::default(),
            refused: AtomicU64::default(),
            bytes_in: AtomicU64::default(),
            bytes_out: AtomicU64::default(),
        }))
    }
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

fn add(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

fn amount(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

impl Metrics {
    /// Calls of each command so far, by its name. Commands never called are left out.
    pub fn commands(&self) -> impl Iterator<Item = (&'static str, u64)> {
        table::rows()
            .zip(&self.0.commands)
            .map(|(spec, calls)| (spec.name, read(calls)))
            .filter(|(_, calls)| *calls > 0)
    }

    /// Commands so far, the unknown ones included.
    #[must_use]
    pub fn commands_total(&self) -> u64 {
        read(&self.0.unknown) + self.0.commands.iter().map(read).sum::<u64>()
    }

    /// Error replies so far.
    #[must_use]
    pub fn errors(&self) -> u64 {
        read(&self.0.errors)
    }

    /// Connections accepted so far.
    #[must_use]
    pub fn connections(&self) -> u64 {
        read(&self.0.connections)
    }

    /// Connections at present.
    #[must_use]
    pub fn connected(&self) -> u64 {
        read(&self.0.connected)
    }

    /// Connections refused because there were too many.
    #[must_use]
    pub fn refused(&self) -> u64 {
        read(&self.0.refused)
    }

    /// Bytes received so far.
    #[must_use]
    pub fn bytes_in(&self) -> u64 {
        read(&self.0.bytes_in)
    }

    /// Bytes sent so far.
    #[must_use]
    pub fn bytes_out(&self) -> u64 {
        read(&self.0.bytes_out)
    }

    pub(crate) fn on_commands(&self, position: Option<usize>, calls: u64) {
        let counter = position.and_then(|position| self.0.commands.get(position));
        add(counter.unwrap_or(&self.0.unknown), calls);
    }

    pub(crate) fn on_error(&self) {
        add(&self.0.errors, 1);
    }

    pub(crate) fn on_connect(&self) {
        add(&self.0.connections, 1);
        add(&self.0.connected, 1);
    }

    pub(crate) fn on_disconnect(&self) {
        self.0.connected.fetch_sub(1, Ordering::Relaxed);
    }

    pub(crate) fn on_refused(&self) {
        add(&self.0.refused, 1);
    }

    pub(crate) fn on_received(&self, bytes: usize) {
        add(&self.0.bytes_in, amount(bytes));
    }

    pub(crate) fn on_sent(&self, bytes: usize) {
        add(&self.0.bytes_out, amount(bytes));
    }

    /// CONFIG RESETSTAT: everything but the connections starts from 0 again.
    pub(crate) fn reset(&self) {
        let Counters {
            commands, unknown, errors, connections, refused, bytes_in, bytes_out, ..
        } = &*self.0;
        for counter in [unknown, errors, connections, refused, bytes_in, bytes_out] {
            counter.store(0, Ordering::Relaxed);
        }
        commands.iter().for_each(|counter| counter.store(0, Ordering::Relaxed));
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics")
            .field("connected", &self.connected())
            .field("commands", &self.commands_total())
            .finish_non_exhaustive()
    }
}

impl Collector for Metrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for (name, help, value) in [
            ("resp_errors", "Error replies", self.errors()),
            ("resp_connections_accepted", "Connections accepted", self.connections()),
            ("resp_connections_refused", "Connections beyond the limit", self.refused()),
            ("resp_received_bytes", "Bytes received", self.bytes_in()),
            ("resp_sent_bytes", "Bytes sent", self.bytes_out()),
        ] {
            let metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            ConstCounter::new(value).encode(metric)?;
        }
        let (name, help) = ("resp_connections", "Connections at present");
        let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        let connected = i64::try_from(self.connected()).unwrap_or(i64::MAX);
        ConstGauge::new(connected).encode(metric)?;
        let (name, help) = ("resp_commands", "Commands by name");
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (command, calls) in self.commands() {
            let labels = [("command", command)];
            let metric = family.encode_family(&labels)?;
            ConstCounter::new(calls).encode(metric)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::encoding::text::encode;
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn commands_are_told_by_name() {
        let metrics = Metrics::default();
        let get = table::find(b"get").map(|(position, _)| position);
        metrics.on_commands(get, 2);
        metrics.on_commands(None, 1);
        metrics.on_connect();
        assert_eq!(metrics.commands_total(), 3);
        let mut registry = Registry::default();
        registry.register_collector(Box::new(metrics));
        let mut text = String::new();
        encode(&mut text, &registry).expect("encoded");
        for line in ["resp_commands_total{command=\"get\"} 2", "resp_connections 1"] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
    }
}
