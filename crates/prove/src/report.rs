//! A run for people, in Markdown.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::nemesis::Fault;
use crate::run::{Report, RunConfig};

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RunConfig { cluster, workload, faults, .. } = &self.config;
        let verdict = if self.findings.is_good() { "all promises kept" } else { "BROKEN" };
        writeln!(f, "# Proof of a cluster of {} nodes: {verdict}\n", cluster.nodes)?;
        let faults: Vec<&str> = faults.iter().map(|fault| fault.name()).collect();
        writeln!(
            f,
            "- seed {}, {} shards, {:.0} s",
            workload.seed,
            cluster.shards,
            self.took.as_secs_f64()
        )?;
        writeln!(f, "- faults asked for: {}", faults.join(", "))?;
        let (keys, operations) = (self.findings.keys, self.findings.operations);
        writeln!(f, "- {operations} operations on {keys} keys were judged")?;
        if let Some(kept) = &self.kept {
            writeln!(f, "- logs and data are kept in {}", kept.display())?;
        }
        self.outcomes(f)?;
        self.faults(f)?;
        self.found(f)
    }
}

impl Report {
    fn outcomes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\n| protocol | answered | refused | unknown |\n|---|---|---|---|")?;
        for (protocol, counts) in &self.counts {
            let (answered, refused, unknown) = (counts.answered, counts.refused, counts.unknown);
            writeln!(f, "| {protocol} | {answered} | {refused} | {unknown} |")?;
        }
        Ok(())
    }

    fn faults(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut by_fault: BTreeMap<Fault, (usize, Duration)> = BTreeMap::new();
        for happened in &self.happened {
            let (times, longest) = by_fault.entry(happened.fault).or_default();
            *times += 1;
            *longest = (*longest).max(happened.gap.length);
        }
        writeln!(
            f,
            "\n| fault | times | longest that a shard was not written, s |\n|---|---|---|"
        )?;
        for (fault, (times, longest)) in by_fault {
            writeln!(f, "| {fault} | {times} | {:.2} |", longest.as_secs_f64())?;
        }
        Ok(())
    }

    fn found(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for trouble in &self.findings.troubles {
            writeln!(f, "\nTrouble: {trouble}")?;
        }
        for key in &self.findings.undecided {
            writeln!(f, "\nUndecided: the history of {key} has too many orders to look at")?;
        }
        for violation in &self.findings.violations {
            writeln!(
                f,
                "\n## Violation at {}\n\n```text\n{}```",
                violation.key, violation.counterexample
            )?;
        }
        Ok(())
    }
}
