//! The words of the command line. Each command keeps its own arguments in its own file.

use clap::{Parser, Subcommand};

use crate::bench::BenchArgs;
use crate::cluster::ClusterArgs;
use crate::completions::CompletionsArgs;
use crate::dev::DevArgs;
use crate::exit::EXIT_HELP;
use crate::export::ExportArgs;
use crate::function::FnArgs;
use crate::import::ImportArgs;
use crate::reduce::ReduceArgs;
use crate::rows::{CasArgs, DelArgs, GetArgs, MergeArgs, PutArgs};
use crate::scan::{HistoryArgs, ScanArgs};
use crate::serve::ServeArgs;
use crate::sql::SqlArgs;
use crate::table::TableArgs;

/// A distributed RocksDB that ships functions to the data.
#[derive(Debug, Parser)]
#[command(name = "breccia", version, about, after_help = EXIT_HELP)]
pub(crate) struct Cli {
    /// What to do
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a node
    Serve(ServeArgs),
    /// Run a node for trying things out, with its data in ./breccia-data
    Dev(DevArgs),
    /// Show how the node is
    Status(ClusterArgs),
    /// List the nodes
    Nodes(ClusterArgs),
    /// List the shards
    Shards(ClusterArgs),
    /// Look for trouble, and say what to do about it
    Doctor(ClusterArgs),
    /// Create, list, describe and drop tables
    Table(TableArgs),
    /// Write a row
    Put(PutArgs),
    /// Read a row
    Get(GetArgs),
    /// Remove a row
    Del(DelArgs),
    /// Write a row if its value is the expected one
    Cas(CasArgs),
    /// Merge an operand into a row of a monoid table
    Merge(MergeArgs),
    /// Read rows in key order
    Scan(ScanArgs),
    /// Reduce all rows of a table to one value, where they are
    Reduce(ReduceArgs),
    /// Ask a question of the tables in SQL, or open a shell for many
    Sql(SqlArgs),
    /// Deploy, list, remove and call functions of your own, in WebAssembly
    Fn(FnArgs),
    /// Read the versions of a row, newest first
    History(HistoryArgs),
    /// Fill a table from a CSV, TSV or NDJSON file
    Import(ImportArgs),
    /// Write a table to standard output
    Export(ExportArgs),
    /// Measure a node, or another server of the Redis protocol
    Bench(BenchArgs),
    /// Write completions for a shell
    Completions(CompletionsArgs),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_words_of_all_commands_fit_together() {
        Cli::command().debug_assert();
    }
}
