//! `fn`: deploy, list, remove and call functions of one's own.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use breccia_api::v1::{
    CallFunctionRequest, DeployFunctionRequest, Function, FunctionKind, FunctionLimits,
    ListFunctionsRequest, RemoveFunctionRequest,
};
use breccia_types::{RequestId, Timestamp};
use bytes::Bytes;
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use crate::client::{Client, ServerArgs, StalenessArgs};
use crate::exit::{Exit, Failure};
use crate::payload::{self, Encoding};
use crate::rows::write_line;
use crate::table_view::TableView;
use crate::units::{parse_duration, parse_size, show_duration, show_instant, show_size};

/// Digits of a digest that people see.
const DIGEST_BYTES_SHOWN: usize = 6;

/// Arguments of `fn`.
#[derive(Debug, Args)]
#[command(after_help = "\
A function is a WebAssembly module that runs beside the rows, within limits. What it exports says \
what it is: a read function answers about keys, a write function changes rows, all or nothing, and \
a reduce function comes to one result over many rows.

  breccia fn deploy visits visits.wasm
  breccia fn call visits redis alice
  breccia reduce redis fn:total
  breccia sql 'select origin, longest(_key, dep_delay) from flights group by origin'

docs/functions.md tells how to write one.")]
pub(crate) struct FnArgs {
    /// What to do
    #[command(subcommand)]
    command: FnCommand,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Debug, Subcommand)]
enum FnCommand {
    /// Deploy a module under a name: a further version, if there is one
    Deploy(DeployArgs),
    /// List the functions
    List,
    /// Remove a function
    Remove {
        /// Its name
        name: String,
    },
    /// Call a read or write function
    Call(CallArgs),
}

#[derive(Debug, Args)]
struct DeployArgs {
    /// Its name: a lower-case letter or _, then lower-case letters, digits and _
    name: String,
    /// The module: WebAssembly or its text format; - for standard input
    #[arg(value_name = "FILE.wasm")]
    file: PathBuf,
    /// What a call of a write function may compute, in units of about one instruction
    #[arg(long, value_name = "N")]
    fuel: Option<u64>,
    /// How long a call of a read or reduce function may run, such as 500ms
    #[arg(long, value_name = "D", value_parser = parse_duration)]
    time: Option<Duration>,
    /// How much memory a call may take, such as 16mib
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    max_memory: Option<u64>,
    /// How much a call may return, such as 64kib
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    output: Option<u64>,
    /// How many rows a call may read and write
    #[arg(long, value_name = "N")]
    rows: Option<u64>,
}

#[derive(Debug, Args)]
struct CallArgs {
    /// The function
    name: String,
    /// The table
    table: String,
    /// What it is about; all keys must be of one slot
    #[arg(value_name = "KEY", required = true)]
    keys: Vec<String>,
    /// What else it is given; may be repeated
    #[arg(long = "arg", value_name = "A", allow_hyphen_values = true)]
    args: Vec<String>,
    /// Keys are base64
    #[arg(long)]
    key_base64: bool,
    /// Arguments are base64
    #[arg(long)]
    arg_base64: bool,
    /// A UUID that names the call: sent again with it, a write function is not run again
    #[arg(long, value_name = "UUID", value_parser = parse_request_id)]
    request_id: Option<RequestId>,
    #[command(flatten)]
    staleness: StalenessArgs,
}

fn parse_request_id(text: &str) -> Result<RequestId, String> {
    RequestId::parse(text).ok_or_else(|| "use a UUID, or 32 hexadecimal digits".to_owned())
}

/// Carries out a `fn` command.
pub(crate) async fn run(args: FnArgs) -> Result<Exit> {
    let json = args.server.json;
    let server = &args.server.server;
    match args.command {
        FnCommand::Deploy(deploy) => {
            let module = read(&deploy.file)?;
            let client = Client::connect(server).await?;
            let request = DeployFunctionRequest {
                name: deploy.name.clone(),
                module,
                limits: Some(deploy.limits()),
            };
            let reply = client.functions().deploy(request).await;
            let function = reply.map_err(|status| client.failed(&status))?.into_inner();
            if json {
                write_line(&document(&function).to_string())?;
            } else {
                let Function { name, version, module_bytes, .. } = &function;
                let (kind, size) = (kind_name(&function), show_size(*module_bytes));
                write_line(&format!("{kind} function {name}, version {version}, {size}"))?;
            }
        }
        FnCommand::List => list(&Client::connect(server).await?, json).await?,
        FnCommand::Remove { name } => {
            let client = Client::connect(server).await?;
            let reply = client.functions().remove(RemoveFunctionRequest { name }).await;
            reply.map_err(|status| client.failed(&status))?;
        }
        FnCommand::Call(call) => {
            let client = Client::connect(server).await?;
            let staleness = call.staleness;
            let request = staleness.request(call.request()?);
            let reply = client.functions().call(request).await;
            let reply = reply.map_err(|status| client.failed(&status))?.into_inner().reply;
            show_reply(&reply, json)?;
        }
    }
    Ok(Exit::Done)
}

fn read(file: &Path) -> Result<Bytes> {
    if file == Path::new("-") {
        let mut module = Vec::new();
        std::io::stdin().lock().read_to_end(&mut module).context("cannot read standard input")?;
        return Ok(module.into());
    }
    let module = std::fs::read(file);
    Ok(module.with_context(|| format!("cannot read {}", file.display()))?.into())
}

impl DeployArgs {
    fn limits(&self) -> FunctionLimits {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        FunctionLimits {
            fuel: self.fuel,
            time_ms: self.time.map(millis),
            memory_bytes: self.max_memory,
            output_bytes: self.output,
            rows: self.rows,
        }
    }
}

impl CallArgs {
    fn request(self) -> Result<CallFunctionRequest, Failure> {
        let read = |texts: &[String], base64: bool| {
            let encoding = Encoding::from_flag(base64);
            texts.iter().map(|text| encoding.read(text)).collect::<Result<Vec<_>, _>>()
        };
        let id = self.request_id.map(|id| Bytes::copy_from_slice(id.as_bytes()));
        Ok(CallFunctionRequest {
            keys: read(&self.keys, self.key_base64)?,
            args: read(&self.args, self.arg_base64)?,
            function: self.name,
            table: self.table,
            request_id: id.unwrap_or_default(),
            kind: FunctionKind::Unspecified.into(),
        })
    }
}

/// What a function returned: as it is, so that it can be piped on.
fn show_reply(reply: &[u8], json: bool) -> Result<()> {
    if json {
        let mut document = Map::new();
        payload::insert(&mut document, "reply", reply);
        return write_line(&Value::from(document).to_string());
    }
    let mut out = std::io::stdout().lock();
    out.write_all(reply)?;
    if !reply.is_empty() && !reply.ends_with(b"\n") {
        out.write_all(b"\n")?;
    }
    Ok(())
}

async fn list(client: &Client, json: bool) -> Result<()> {
    let reply = client.functions().list(ListFunctionsRequest {}).await;
    let functions = reply.map_err(|status| client.failed(&status))?.into_inner().functions;
    if json {
        let documents: Vec<Value> = functions.iter().map(document).collect();
        return write_line(&Value::from(documents).to_string());
    }
    let mut view =
        TableView::new(&["name", "kind", "version", "module", "size", "limits", "deployed"]);
    for function in &functions {
        view.row([
            function.name.clone(),
            kind_name(function).to_owned(),
            function.version.to_string(),
            hex(function.digest.get(..DIGEST_BYTES_SHOWN).unwrap_or(&function.digest)),
            show_size(function.module_bytes),
            limits(function),
            show_instant(Timestamp::from_micros(function.deployed_at_micros)),
        ]);
    }
    write_line(&view.to_string())
}

/// The limits that concern a function of its kind.
fn limits(function: &Function) -> String {
    let limits = function.limits.unwrap_or_default();
    let computing = match function.kind() {
        FunctionKind::Write => limits.fuel.map(|fuel| format!("fuel {fuel}")),
        _ => limits.time_ms.map(|millis| show_duration(Duration::from_millis(millis))),
    };
    let rows = match function.kind() {
        FunctionKind::Reduce => None,
        _ => limits.rows.map(|rows| format!("{rows} rows")),
    };
    let memory = limits.memory_bytes.map(show_size);
    let output = limits.output_bytes.map(|bytes| format!("{} out", show_size(bytes)));
    let all = [computing, memory, output, rows];
    all.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

fn kind_name(function: &Function) -> &'static str {
    match function.kind() {
        FunctionKind::Read => "read",
        FunctionKind::Write => "write",
        FunctionKind::Reduce => "reduce",
        FunctionKind::Unspecified => "unknown",
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A function as a JSON document.
fn document(function: &Function) -> Value {
    let limits = function.limits.unwrap_or_default();
    json!({
        "name": function.name,
        "kind": kind_name(function),
        "version": function.version,
        "digest": hex(&function.digest),
        "module_bytes": function.module_bytes,
        "limits": {
            "fuel": limits.fuel,
            "time_ms": limits.time_ms,
            "memory_bytes": limits.memory_bytes,
            "output_bytes": limits.output_bytes,
            "rows": limits.rows,
        },
        "deployed_at_micros": function.deployed_at_micros,
    })
}
