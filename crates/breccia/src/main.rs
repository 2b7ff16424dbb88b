//! `breccia`: serve a node, ask it, fill it, measure it.

mod args;
mod exit;

mod config;
mod logging;

mod dev;
mod serve;

mod client;
mod cluster;
mod export;
mod exported;
mod function;
mod import;
mod reduce;
mod rows;
mod scan;
mod sql;
mod table;

mod bench;
mod completions;

mod payload;
mod progress;
mod table_view;
mod units;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use args::{Cli, Command};
use exit::{Exit, exit_of};

/// For Rust and for RocksDB's C++ alike: under mixed load it keeps memory nearer to what is
/// in use than the system's allocator does, so that the memory budget holds.
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli.command) {
        Ok(exit) => exit.into(),
        Err(error) => {
            let exit = exit_of(&error);
            if exit != Exit::Done {
                eprintln!("error: {error:#}");
            }
            exit.into()
        }
    }
}

fn run(command: Command) -> Result<Exit> {
    match command {
        Command::Serve(args) => serve::run(args),
        Command::Dev(args) => dev::run(args),
        Command::Status(args) => wait(cluster::status(args)),
        Command::Nodes(args) => wait(cluster::nodes(args)),
        Command::Shards(args) => wait(cluster::shards(args)),
        Command::Doctor(args) => wait(cluster::doctor(args)),
        Command::Table(args) => wait(table::run(args)),
        Command::Put(args) => wait(rows::put(args)),
        Command::Get(args) => wait(rows::get(args)),
        Command::Del(args) => wait(rows::del(args)),
        Command::Cas(args) => wait(rows::cas(args)),
        Command::Merge(args) => wait(rows::merge(args)),
        Command::Scan(args) => wait(scan::scan(args)),
        Command::Reduce(args) => wait(reduce::run(args)),
        Command::Sql(args) => wait(sql::run(args)),
        Command::Fn(args) => wait(function::run(args)),
        Command::History(args) => wait(scan::history(args)),
        Command::Import(args) => wait(import::run(args)),
        Command::Export(args) => wait(export::run(args)),
        Command::Bench(args) => bench::run(args),
        Command::Completions(args) => completions::run(&args),
    }
}

/// Runs a command that talks to a server.
fn wait(command: impl Future<Output = Result<Exit>>) -> Result<Exit> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(command)
}
