//! Log lines of a node, on standard error.

use std::io::IsTerminal;

use anyhow::Result;
use tracing_subscriber::EnvFilter;

use crate::config::{Config, LogFormat};
use crate::exit::Failure;

/// What libraries tell of each step, unless the filter asks for it by name: the parts that
/// use them tell what came of it.
const QUIET: &str = "openraft=off,chitchat=error";

/// Starts logging as the configuration says.
///
/// # Errors
/// [`Failure`] if the filter is not valid.
pub(crate) fn start(config: &Config) -> Result<()> {
    let filter = EnvFilter::try_new(format!("{QUIET},{}", config.log)).map_err(|error| {
        Failure::usage(format!(
            "--log {:?}: {error}; use a level such as info, or parts such as breccia_node=debug",
            config.log
        ))
    })?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match config.log_format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => lines.json().try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("cannot start logging: {error}"))
}
