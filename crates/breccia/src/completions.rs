//! `completions`: what a shell needs to complete our words.

use std::io;

use anyhow::Result;
use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::exit::Exit;

/// Arguments of `completions`.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// Which shell
    shell: Shell,
}

/// Writes the completions to standard output.
pub(crate) fn run(args: &CompletionsArgs) -> Result<Exit> {
    let mut text = Vec::new();
    let mut command = crate::args::Cli::command();
    clap_complete::generate(args.shell, &mut command, "breccia", &mut text);
    io::Write::write_all(&mut io::stdout().lock(), &text)?;
    Ok(Exit::Done)
}
