//! The configuration of a node: flags, environment, file, defaults.
//!
//! Precedence, for each setting by itself: a flag of the command line, then the environment
//! variable, then the file (`--config FILE`, else `breccia.toml` in the working directory if
//! there is one), then the default. An unknown key in the file is an error.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use breccia_node::{FsyncPolicy, MembershipKind};
use breccia_types::limits::{
    DISK_RESERVE_BYTES, MEMORY_BYTES_DEFAULT, MEMORY_BYTES_MIN, REPLICAS_MAX, SHARDS_MAX,
};
use clap::Args;
use serde::Deserialize;

use crate::exit::Failure;
use crate::units::{parse_size, show_size};

/// Where a node listens for gRPC and REST if nothing is said.
pub(crate) const HTTP_ADDRESS_DEFAULT: &str = "127.0.0.1:7400";
/// Where a node listens for the Redis protocol if nothing is said.
pub(crate) const RESP_ADDRESS_DEFAULT: &str = "127.0.0.1:7379";
/// Where a node listens for other nodes if nothing is said.
pub(crate) const PEER_ADDRESS_DEFAULT: &str = "127.0.0.1:7401";
/// What is logged if nothing is said.
const LOG_DEFAULT: &str = "info";
/// The file that is read if `--config` names none.
const FILE_DEFAULT: &str = "breccia.toml";

/// Settings as one source gives them: the flags, the environment, or the file. The file's
/// keys are the flags' names with `_` for `-`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// The data directory; made if absent [env: BRECCIA_DATA]
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Where to listen for gRPC and REST [env: BRECCIA_HTTP] [default: 127.0.0.1:7400]
    #[arg(long, value_name = "ADDR")]
    pub(crate) http: Option<String>,
    /// Where to listen for the Redis protocol [env: BRECCIA_RESP] [default: 127.0.0.1:7379]
    #[arg(long, value_name = "ADDR")]
    pub(crate) resp: Option<String>,
    /// Where to listen for other nodes [env: BRECCIA_PEER] [default: 127.0.0.1:7401]
    #[arg(long, value_name = "ADDR")]
    pub(crate) peer: Option<String>,
    /// The --peer address of a node of the cluster to join; may be given more than once. A new
    /// data directory without it founds a cluster [env: BRECCIA_JOIN, separated by commas]
    #[arg(long, value_name = "PEER")]
    #[serde(default)]
    pub(crate) join: Vec<String>,
    /// The host name or address under which clients and other nodes reach this node, if not
    /// those of the addresses above [env: BRECCIA_ADVERTISE]
    #[arg(long, value_name = "HOST")]
    pub(crate) advertise: Option<String>,
    /// What the node shares failures with, such as a rack; replicas of a shard are kept in
    /// distinct zones while there are enough [env: BRECCIA_ZONE]
    #[arg(long, value_name = "NAME")]
    pub(crate) zone: Option<String>,
    /// How nodes learn which of the others live: by gossip over UDP on the port of --peer, or by
    /// the cluster's static list of members and the connections to them, where UDP does not pass
    /// [env: BRECCIA_MEMBERSHIP] [default: gossip]
    #[arg(long, value_name = "KIND")]
    pub(crate) membership: Option<MembershipChoice>,
    /// Shards of a new cluster [env: BRECCIA_SHARDS] [default: 8]
    #[arg(long, value_name = "N")]
    pub(crate) shards: Option<u32>,
    /// Replicas of each shard of a new cluster, once it has so many nodes [env:
    /// BRECCIA_REPLICAS] [default: 3]
    #[arg(long, value_name = "N")]
    pub(crate) replicas: Option<u8>,
    /// The memory budget, such as 512MiB or 1g [env: BRECCIA_MEMORY] [default: 1GiB]
    #[arg(long, value_name = "SIZE")]
    pub(crate) memory: Option<String>,
    /// Free disk space below which writes are refused, such as 1GiB [env: BRECCIA_DISK_RESERVE]
    /// [default: 128MiB]
    #[arg(long, value_name = "SIZE")]
    pub(crate) disk_reserve: Option<String>,
    /// When writes reach the disk: always, interval:MS or never [env: BRECCIA_FSYNC]
    /// [default: always]
    #[arg(long, value_name = "WHEN")]
    pub(crate) fsync: Option<String>,
    /// Listen on other than loopback addresses, although there is no authentication yet
    /// [env: BRECCIA_ALLOW_REMOTE]
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub(crate) allow_remote: Option<bool>,
    /// What is logged, such as info or breccia_node=debug [env: BRECCIA_LOG] [default: info]
    #[arg(long, value_name = "FILTER")]
    pub(crate) log: Option<String>,
    /// How it is logged [env: BRECCIA_LOG_FORMAT] [default: text]
    #[arg(long, value_name = "FORMAT")]
    pub(crate) log_format: Option<LogFormat>,
}

/// How nodes learn which of the others live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum MembershipChoice {
    /// They tell each other.
    #[default]
    Gossip,
    /// By their connections to those on the list.
    Static,
}

impl From<MembershipChoice> for MembershipKind {
    fn from(choice: MembershipChoice) -> Self {
        match choice {
            MembershipChoice::Gossip => Self::Gossip,
            MembershipChoice::Static => Self::Static,
        }
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON document a line.
    Json,
}

/// A node's configuration, complete and checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Config {
    /// The data directory.
    pub(crate) data: PathBuf,
    /// Where gRPC and REST are served.
    pub(crate) http: SocketAddr,
    /// Where the Redis protocol is served.
    pub(crate) resp: SocketAddr,
    /// Where other nodes are listened for.
    pub(crate) peer: SocketAddr,
    /// Nodes of the cluster to join.
    pub(crate) join: Vec<String>,
    /// The host under which others reach the node, if not that of the addresses.
    pub(crate) advertise: Option<String>,
    /// What the node shares failures with; may be empty.
    pub(crate) zone: String,
    /// How the node learns which of the others live.
    pub(crate) membership: MembershipChoice,
    /// The shard count, if it was given.
    pub(crate) shards: Option<u32>,
    /// The replica count, if it was given.
    pub(crate) replicas: Option<u8>,
    /// The memory budget in bytes.
    pub(crate) memory_bytes: usize,
    /// Free disk space below which writes are refused, in bytes.
    pub(crate) disk_reserve_bytes: u64,
    /// When writes are acknowledged.
    pub(crate) fsync: FsyncPolicy,
    /// The filter of log lines.
    pub(crate) log: String,
    /// The look of log lines.
    pub(crate) log_format: LogFormat,
}

impl Settings {
    /// The settings of this source, and those of `other` where this one is silent.
    #[must_use]
    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            data: self.data.or(other.data),
            http: self.http.or(other.http),
            resp: self.resp.or(other.resp),
            peer: self.peer.or(other.peer),
            join: if self.join.is_empty() { other.join } else { self.join },
            advertise: self.advertise.or(other.advertise),
            zone: self.zone.or(other.zone),
            membership: self.membership.or(other.membership),
            shards: self.shards.or(other.shards),
            replicas: self.replicas.or(other.replicas),
            memory: self.memory.or(other.memory),
            disk_reserve: self.disk_reserve.or(other.disk_reserve),
            fsync: self.fsync.or(other.fsync),
            allow_remote: self.allow_remote.or(other.allow_remote),
            log: self.log.or(other.log),
            log_format: self.log_format.or(other.log_format),
        }
    }

    /// The settings of the environment, which `variable` looks up. An empty variable is
    /// as good as none.
    ///
    /// # Errors
    /// [`Failure`] naming the variable that is not valid.
    pub(crate) fn from_environment(
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Failure> {
        let text = |name: &str| variable(name).filter(|value| !value.is_empty());
        let parsed = Parsed { text: &text };
        Ok(Self {
            data: text("BRECCIA_DATA").map(PathBuf::from),
            http: text("BRECCIA_HTTP"),
            resp: text("BRECCIA_RESP"),
            peer: text("BRECCIA_PEER"),
            join: text("BRECCIA_JOIN")
                .map(|list| list.split(',').map(|peer| peer.trim().to_owned()).collect())
                .unwrap_or_default(),
            advertise: text("BRECCIA_ADVERTISE"),
            zone: text("BRECCIA_ZONE"),
            membership: parsed.choice("BRECCIA_MEMBERSHIP", "gossip or static")?,
            shards: parsed.get("BRECCIA_SHARDS", "a whole number")?,
            replicas: parsed.get("BRECCIA_REPLICAS", "a whole number")?,
            memory: text("BRECCIA_MEMORY"),
            disk_reserve: text("BRECCIA_DISK_RESERVE"),
            fsync: text("BRECCIA_FSYNC"),
            allow_remote: parsed.get("BRECCIA_ALLOW_REMOTE", "true or false")?,
            log: text("BRECCIA_LOG"),
            log_format: parsed.choice("BRECCIA_LOG_FORMAT", "text or json")?,
        })
    }

    /// The settings of the file: of `named`, which must be there, else of `breccia.toml`
    /// in the working directory, if it is there.
    ///
    /// # Errors
    /// If the file cannot be read, or holds an unknown key or a value of the wrong type.
    pub(crate) fn from_file(named: Option<&Path>) -> Result<Self> {
        let path = named.unwrap_or(Path::new(FILE_DEFAULT));
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(Self::default());
            }
            Err(error) => {
                let message = format!("cannot read the configuration {}", path.display());
                return Err(Failure::usage(format!("{message}: {error}")).into());
            }
        };
        Self::from_toml(&text).with_context(|| format!("in {}", path.display()))
    }

    /// The settings of a file's text.
    fn from_toml(text: &str) -> Result<Self, Failure> {
        toml::from_str(text).map_err(|error| Failure::usage(error.to_string()))
    }

    /// The complete configuration, with defaults where no source said anything.
    ///
    /// # Errors
    /// [`Failure`] saying which setting is not valid, or not available in this version.
    pub(crate) fn complete(self) -> Result<Config, Failure> {
        let remote = self.allow_remote.unwrap_or(false);
        let data = self.data.ok_or_else(|| {
            Failure::usage(
                "say where the data lies: --data DIR, BRECCIA_DATA, or `data` in breccia.toml",
            )
        })?;
        if let Some(shards) = self.shards
            && !(1..=SHARDS_MAX).contains(&shards)
        {
            return Err(Failure::usage(format!("--shards {shards}: use 1 to {SHARDS_MAX}")));
        }
        if let Some(replicas) = self.replicas
            && !(1..=REPLICAS_MAX).contains(&replicas)
        {
            return Err(Failure::usage(format!("--replicas {replicas}: use 1 to {REPLICAS_MAX}")));
        }
        let peer = address("peer", self.peer.as_deref().unwrap_or(PEER_ADDRESS_DEFAULT), remote)?;
        if peer.ip().is_unspecified() && self.advertise.is_none() {
            return Err(Failure::usage(format!(
                "--peer {peer} is every address of this machine: say with --advertise HOST \
                 under which of them other nodes reach it",
            )));
        }
        for join in &self.join {
            if !join.contains(':') {
                return Err(Failure::usage(format!(
                    "--join {join:?} is no address: use HOST:PORT, the --peer address of a node",
                )));
            }
        }
        Ok(Config {
            data,
            http: address("http", self.http.as_deref().unwrap_or(HTTP_ADDRESS_DEFAULT), remote)?,
            resp: address("resp", self.resp.as_deref().unwrap_or(RESP_ADDRESS_DEFAULT), remote)?,
            peer,
            join: self.join,
            advertise: self.advertise,
            zone: self.zone.unwrap_or_default(),
            membership: self.membership.unwrap_or_default(),
            shards: self.shards,
            replicas: self.replicas,
            memory_bytes: memory_bytes(self.memory.as_deref())?,
            disk_reserve_bytes: match self.disk_reserve {
                None => DISK_RESERVE_BYTES,
                Some(text) => parse_size(&text)
                    .map_err(|error| Failure::usage(format!("--disk-reserve: {error}")))?,
            },
            fsync: match self.fsync {
                None => FsyncPolicy::default(),
                Some(text) => {
                    text.parse().map_err(|error| Failure::usage(format!("--fsync: {error}")))?
                }
            },
            log: self.log.unwrap_or_else(|| LOG_DEFAULT.to_owned()),
            log_format: self.log_format.unwrap_or_default(),
        })
    }
}

/// Reads environment variables into types.
struct Parsed<'a, F: Fn(&str) -> Option<String>> {
    text: &'a F,
}

impl<F: Fn(&str) -> Option<String>> Parsed<'_, F> {
    fn get<T: std::str::FromStr>(&self, name: &str, wanted: &str) -> Result<Option<T>, Failure> {
        match (self.text)(name) {
            None => Ok(None),
            Some(value) => match value.parse() {
                Ok(parsed) => Ok(Some(parsed)),
                Err(_) => Err(Failure::usage(format!("{name} is {value:?}: use {wanted}"))),
            },
        }
    }

    /// As [`Parsed::get`], of values that a flag knows by names.
    fn choice<T: clap::ValueEnum>(&self, name: &str, wanted: &str) -> Result<Option<T>, Failure> {
        let Some(value) = (self.text)(name) else { return Ok(None) };
        let chosen = T::from_str(&value, false);
        chosen.map(Some).map_err(|_| Failure::usage(format!("{name} is {value:?}: use {wanted}")))
    }
}

/// The memory budget in bytes.
fn memory_bytes(text: Option<&str>) -> Result<usize, Failure> {
    let Some(text) = text else {
        return Ok(MEMORY_BYTES_DEFAULT);
    };
    let bytes = parse_size(text).map_err(|error| Failure::usage(format!("--memory: {error}")))?;
    match usize::try_from(bytes) {
        Ok(bytes) if bytes >= MEMORY_BYTES_MIN => Ok(bytes),
        _ => {
            let least = show_size(u64::try_from(MEMORY_BYTES_MIN).unwrap_or(u64::MAX));
            Err(Failure::usage(format!("--memory {text}: a node needs at least {least}")))
        }
    }
}

/// Reads an address of a front end, and refuses one that others can reach unless that is
/// allowed.
fn address(name: &str, text: &str, remote_allowed: bool) -> Result<SocketAddr, Failure> {
    let resolved = match text.parse() {
        Ok(address) => Some(address),
        Err(_) => text.to_socket_addrs().ok().and_then(|mut addresses| addresses.next()),
    };
    let Some(address) = resolved else {
        return Err(Failure::usage(format!(
            "--{name} {text:?} is no address: use HOST:PORT, such as 127.0.0.1:7400"
        )));
    };
    if !address.ip().is_loopback() && !remote_allowed {
        return Err(Failure::usage(format!(
            "--{name} {text} can be reached from other machines, and there is no \
             authentication yet: use a loopback address, or --allow-remote if the network \
             is trusted",
        )));
    }
    Ok(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_data() -> Settings {
        Settings { data: Some("d".into()), ..Settings::default() }
    }

    #[test]
    fn flags_win_over_environment_over_file_over_defaults() {
        let file = Settings::from_toml(
            "data = \"file\"\nshards = 3\nmemory = \"128MiB\"\nfsync = \"never\"\n",
        )
        .expect("valid");
        let environment = Settings::from_environment(|name| match name {
            "BRECCIA_DATA" => Some("environment".to_owned()),
            "BRECCIA_SHARDS" => Some("5".to_owned()),
            "BRECCIA_MEMORY" => Some(String::new()),
            _ => None,
        })
        .expect("valid");
        let flags = Settings { data: Some("flag".into()), ..Settings::default() };
        let config = flags.or(environment).or(file).complete().expect("complete");
        assert_eq!(config.data, PathBuf::from("flag"));
        assert_eq!(config.shards, Some(5));
        assert_eq!(config.memory_bytes, 128 << 20);
        assert_eq!(config.fsync, FsyncPolicy::Never);
        assert_eq!(config.http.to_string(), HTTP_ADDRESS_DEFAULT);
    }

    #[test]
    fn an_unknown_key_of_the_file_is_named() {
        let error = Settings::from_toml("dta = \"x\"").expect_err("unknown").to_string();
        assert!(error.contains("dta"), "{error}");
    }

    #[test]
    fn a_wrong_environment_variable_is_named() {
        let error = Settings::from_environment(|name| {
            (name == "BRECCIA_SHARDS").then(|| "many".to_owned())
        })
        .expect_err("no number")
        .to_string();
        assert!(error.contains("BRECCIA_SHARDS") && error.contains("many"), "{error}");
    }

    #[test]
    fn what_cannot_be_a_cluster_is_refused_with_what_to_say_instead() {
        let join = Settings { join: vec!["somewhere".into()], ..with_data() };
        let message = join.complete().expect_err("no address").to_string();
        assert!(message.contains("--peer address of a node"), "{message}");
        let everywhere =
            Settings { peer: Some("0.0.0.0:7401".into()), allow_remote: Some(true), ..with_data() };
        let message = everywhere.clone().complete().expect_err("every address").to_string();
        assert!(message.contains("--advertise"), "{message}");
        let named = Settings { advertise: Some("n1.example".into()), ..everywhere };
        assert!(named.complete().is_ok());
        let replicas = Settings { replicas: Some(0), ..with_data() };
        assert!(replicas.complete().is_err());
    }

    #[test]
    fn remote_addresses_need_a_flag() {
        let open = Settings { http: Some("0.0.0.0:0".into()), ..with_data() };
        let message = open.clone().complete().expect_err("remote").to_string();
        assert!(message.contains("--allow-remote"), "{message}");
        assert!(Settings { allow_remote: Some(true), ..open }.complete().is_ok());
    }

    #[test]
    fn values_out_of_range_are_refused() {
        for settings in [
            Settings::default(),
            Settings { memory: Some("1m".into()), ..with_data() },
            Settings { memory: Some("much".into()), ..with_data() },
            Settings { disk_reserve: Some("some".into()), ..with_data() },
            Settings { shards: Some(0), ..with_data() },
            Settings { fsync: Some("sometimes".into()), ..with_data() },
            Settings { http: Some("here".into()), ..with_data() },
        ] {
            assert!(settings.complete().is_err());
        }
    }
}
