//! `dev`: a node for trying things out, with sample data if wanted.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result};
use breccia_api::v1::DescribeTableRequest;
use clap::Args;
use tokio::runtime::Runtime;

use crate::client::{Client, is_unknown_table};
use crate::config::Settings;
use crate::exit::{Exit, Failure};
use crate::import::Import;
use crate::logging;
use crate::serve::{Running, Signals, layered};

/// Where the data of a node for trying things out lies if nothing is said.
const DATA_DEFAULT: &str = "breccia-data";
/// What is logged if nothing is said: nobody who tries things out wants to read more.
const LOG_DEFAULT: &str = "warn";
/// The table of the sample.
const SAMPLE_TABLE: &str = "flights";
/// How keys of the sample are made.
const SAMPLE_KEY: &str = "{carrier}/{flight}/{origin}/{time_hour}/{sched_dep_time}";
/// A row of the sample that is worth a look.
const SAMPLE_ROW: &str = "UA/1545/EWR/2013-01-01T10:00:00Z/515";

/// Arguments of `dev`.
#[derive(Debug, Args)]
#[command(after_help = "\
Takes the flags, environment variables and file of `breccia serve`; only the defaults of --data \
(./breccia-data) and --log (warn) differ.")]
pub(crate) struct DevArgs {
    /// Nodes to run; this version runs 1
    #[arg(long, value_name = "N", default_value_t = 1)]
    nodes: u32,
    /// A CSV file of flights to load into the table `flights`, unless that was done before
    #[arg(long, value_name = "FILE")]
    sample: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
    /// The configuration file [default: breccia.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Runs a node for trying things out.
pub(crate) fn run(args: DevArgs) -> Result<Exit> {
    if args.nodes != 1 {
        return Err(Failure::usage(format!(
            "--nodes {}: several nodes are not available in this version: use --nodes 1",
            args.nodes
        ))
        .into());
    }
    let defaults = Settings {
        data: Some(PathBuf::from(DATA_DEFAULT)),
        log: Some(LOG_DEFAULT.to_owned()),
        ..Settings::default()
    };
    let config = layered(args.settings, args.config)?.or(defaults).complete()?;
    logging::start(&config)?;
    let runtime = Runtime::new()?;
    let ended = runtime.block_on(async {
        let mut signals = Signals::listen()?;
        let mut running = Running::start(&config).await?;
        if let Some(sample) = args.sample {
            let loaded = tokio::select! {
                loaded = load(&running, sample) => loaded,
                () = signals.next() => {
                    eprintln!("stopped while loading; the next start loads the sample again");
                    running.shut_down().await;
                    return Ok(Exit::Done);
                }
            };
            if let Err(error) = loaded {
                running.shut_down().await;
                return Err(error.context("the sample was not loaded"));
            }
        }
        running.announce()?;
        suggest(&running)?;
        running.until_signal(&mut signals).await
    });
    runtime.shutdown_background();
    ended
}

/// Loads the sample through the node's own front end, unless its table is complete: an
/// import describes the columns last.
async fn load(running: &Running, sample: PathBuf) -> Result<()> {
    let client = Client::connect(&running.http.to_string()).await?;
    if is_complete(&client).await? {
        return Ok(());
    }
    let import = Import::with_key(SAMPLE_TABLE, &sample, SAMPLE_KEY)?;
    let imported = import.run(&client).await?;
    eprintln!("{}", imported.to_text(SAMPLE_TABLE));
    Ok(())
}

async fn is_complete(client: &Client) -> Result<bool> {
    let request = DescribeTableRequest { name: SAMPLE_TABLE.to_owned() };
    match client.tables().describe(request).await {
        Ok(table) => {
            Ok(table.into_inner().options.is_some_and(|options| !options.columns.is_empty()))
        }
        Err(status) if is_unknown_table(&status) => Ok(false),
        Err(status) => Err(client.failed(&status)).context("while looking for the sample"),
    }
}

/// Tells three things to try.
fn suggest(running: &Running) -> Result<()> {
    let (http, resp) = (running.http, running.resp);
    let mut out = std::io::stdout().lock();
    writeln!(
        out,
        "\nTry, in another terminal:\n\
         \x20 redis-cli -p {} SET greeting hello\n\
         \x20 curl http://{http}/v1/tables\n\
         \x20 breccia get {SAMPLE_TABLE} {SAMPLE_ROW} --server {http}\n\
         \n\
         Ctrl-C ends the node.",
        resp.port()
    )?;
    out.flush()?;
    Ok(())
}
