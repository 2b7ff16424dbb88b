//! What a benchmark found, as tables for people and as one JSON document for programs.

use std::io::Write;

use anyhow::Result;
use hdrhistogram::Histogram;
use serde_json::{Value, json};

use super::driver::Measured;
use super::workload::OperationKind;
use crate::table_view::TableView;

/// The percentiles shown, with their names in JSON.
const PERCENTILES: [(f64, &str); 3] = [(50.0, "p50_us"), (99.0, "p99_us"), (99.9, "p999_us")];

/// The rounds of one target.
pub(crate) struct TargetReport {
    /// The target as it was named.
    pub(crate) target: String,
    /// What it says of itself.
    pub(crate) server: String,
    /// Seconds that loading took.
    pub(crate) load_seconds: f64,
    /// Each round by itself.
    pub(crate) rounds: Vec<Measured>,
}

/// All targets, and the parameters that they share.
pub(crate) struct Report {
    /// Name and value of each parameter.
    pub(crate) parameters: Vec<(&'static str, Value)>,
    /// Records that were loaded into each target.
    pub(crate) records: u64,
    /// The targets in the order in which they were named.
    pub(crate) targets: Vec<TargetReport>,
}

impl TargetReport {
    /// Operations per second of the middle round.
    fn median_rate(&self) -> f64 {
        let mut rates: Vec<f64> = self.rounds.iter().map(Measured::rate).collect();
        rates.sort_by(f64::total_cmp);
        rates.get(rates.len() / 2).copied().unwrap_or(0.0)
    }

    fn total(&self) -> Result<Option<Measured>> {
        let Some((first, others)) = self.rounds.split_first() else {
            return Ok(None);
        };
        let mut total = first.clone();
        for other in others {
            total.add(other)?;
            total.elapsed += other.elapsed;
        }
        Ok(Some(total))
    }
}

impl Report {
    /// Writes tables.
    ///
    /// # Errors
    /// If the output cannot be written.
    pub(crate) fn write_text(&self, out: &mut dyn Write) -> Result<()> {
        let shown = self.parameters.iter().map(|(name, value)| match value {
            Value::String(text) => format!("{name} {text}"),
            other => format!("{name} {other}"),
        });
        writeln!(out, "{}", shown.collect::<Vec<_>>().join(", "))?;
        for target in &self.targets {
            writeln!(out, "\n{}  {}", target.target, target.server)?;
            if target.load_seconds > 0.0 {
                let rate = self.records as f64 / target.load_seconds;
                writeln!(
                    out,
                    "loaded {} records in {:.2} s ({rate:.0}/s)",
                    self.records, target.load_seconds
                )?;
            }
            if let Some(total) = target.total()? {
                write_measured(out, &total)?;
            }
        }
        if let [first, second] = self.targets.as_slice()
            && let Some((median, rounds)) = ratio(first, second)
        {
            let each: Vec<String> = rounds.iter().map(|ratio| format!("{ratio:.2}")).collect();
            writeln!(
                out,
                "\n{} does {median:.2} times the operations of {} (median of {} rounds: {})",
                first.target,
                second.target,
                rounds.len(),
                each.join(", ")
            )?;
        }
        Ok(())
    }

    /// The report as a JSON document.
    ///
    /// # Errors
    /// If histograms cannot be added up.
    pub(crate) fn to_json(&self) -> Result<Value> {
        let mut parameters = serde_json::Map::new();
        for (name, value) in &self.parameters {
            parameters.insert((*name).to_owned(), value.clone());
        }
        let mut targets = Vec::new();
        for target in &self.targets {
            let mut rounds = Vec::new();
            for round in &target.rounds {
                rounds.push(measured_json(round)?);
            }
            targets.push(json!({
                "target": target.target,
                "server": target.server,
                "load_seconds": target.load_seconds,
                "median_ops_per_second": target.median_rate(),
                "rounds": rounds,
            }));
        }
        let ratio = match self.targets.as_slice() {
            [first, second] => ratio(first, second)
                .map(|(median, rounds)| json!({"median": median, "rounds": rounds})),
            _ => None,
        };
        Ok(json!({"parameters": parameters, "targets": targets, "ratio": ratio}))
    }
}

/// How many times the operations of the second target the first one did: in the median,
/// and round by round.
fn ratio(first: &TargetReport, second: &TargetReport) -> Option<(f64, Vec<f64>)> {
    let rounds: Vec<f64> = first
        .rounds
        .iter()
        .zip(&second.rounds)
        .map(|(mine, other)| mine.rate() / other.rate().max(f64::MIN_POSITIVE))
        .collect();
    let mut sorted = rounds.clone();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).map(|median| (*median, rounds))
}

fn write_measured(out: &mut dyn Write, measured: &Measured) -> Result<()> {
    let mut view =
        TableView::new(&["operation", "count", "ops/s", "p50 µs", "p99 µs", "p99.9 µs", "max µs"]);
    let seconds = measured.elapsed.as_secs_f64().max(f64::MIN_POSITIVE);
    let mut row = |name: &str, histogram: &Histogram<u64>| {
        let mut cells = vec![name.to_owned(), histogram.len().to_string()];
        cells.push(format!("{:.0}", histogram.len() as f64 / seconds));
        cells.extend(PERCENTILES.iter().map(|(percentile, _)| {
            format!("{:.1}", micros(histogram.value_at_percentile(*percentile)))
        }));
        cells.push(format!("{:.1}", micros(histogram.max())));
        view.row(cells);
    };
    for (kind, histogram) in &measured.latencies {
        row(kind.name(), histogram);
    }
    if measured.latencies.len() > 1 {
        row("all", &measured.all_latencies()?);
    }
    writeln!(out, "{view}")?;
    if measured.missing > 0 {
        writeln!(out, "{} reads found no record", measured.missing)?;
    }
    if measured.failed > 0 {
        let reason = measured.first_failure.as_deref().unwrap_or("");
        writeln!(out, "{} operations were refused, the first one: {reason}", measured.failed)?;
    }
    if measured.unsent > 0 {
        writeln!(
            out,
            "the target could not keep the rate: {} operations were never sent, and the \
             latencies above grow with the length of the run",
            measured.unsent
        )?;
    }
    Ok(())
}

fn measured_json(measured: &Measured) -> Result<Value> {
    let histogram_json = |histogram: &Histogram<u64>| {
        let mut document = serde_json::Map::new();
        document.insert("count".to_owned(), histogram.len().into());
        for (percentile, name) in PERCENTILES {
            let value = micros(histogram.value_at_percentile(percentile));
            document.insert(name.to_owned(), value.into());
        }
        document.insert("max_us".to_owned(), micros(histogram.max()).into());
        Value::Object(document)
    };
    let mut operations = serde_json::Map::new();
    for kind in OperationKind::ALL {
        if let Some(histogram) = measured.latencies.get(&kind) {
            operations.insert(kind.name().to_owned(), histogram_json(histogram));
        }
    }
    operations.insert("all".to_owned(), histogram_json(&measured.all_latencies()?));
    Ok(json!({
        "seconds": measured.elapsed.as_secs_f64(),
        "ops_per_second": measured.rate(),
        "missing": measured.missing,
        "failed": measured.failed,
        "first_failure": measured.first_failure,
        "unsent": measured.unsent,
        "operations": operations,
    }))
}

fn micros(nanos: u64) -> f64 {
    nanos as f64 / 1_000.0
}
