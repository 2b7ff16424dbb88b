//! A small disk in memory for one node, which can be filled and emptied again.

use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

const BLOCK_BYTES: usize = 64 * 1024;
/// What [`Fill::Low`] leaves: less than a node reserves by default.
const LOW_MEBIBYTES: usize = 64;

/// How full a disk gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fill {
    /// There is room, but less than the node reserves.
    Low,
    /// Not one more block.
    Full,
}

/// A disk, mounted in this process's own namespace.
pub(super) struct SmallDisk {
    mounted: PathBuf,
}

impl SmallDisk {
    pub(super) fn mount(at: PathBuf, mebibytes: u32) -> Result<Self> {
        fs::create_dir(&at)?;
        let size = format!("size={mebibytes}m");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "prove"]).arg(&at);
        run(&mut mount)?;
        Ok(Self { mounted: at })
    }

    pub(super) fn fill(&self, fill: Fill) -> Result<()> {
        let mut balloon = File::create(self.balloon()).context("cannot fill the disk")?;
        let block = [0; BLOCK_BYTES];
        loop {
            match balloon.write(&block) {
                Ok(written) if written > 0 => {}
                Err(error) if error.kind() != ErrorKind::StorageFull => return Err(error.into()),
                _ => break,
            }
        }
        if fill == Fill::Low {
            let bytes = balloon.metadata()?.len();
            let leave = u64::try_from(LOW_MEBIBYTES * 1024 * 1024).unwrap_or(0);
            balloon.set_len(bytes.saturating_sub(leave))?;
        }
        Ok(())
    }

    pub(super) fn empty(&self) -> Result<()> {
        match fs::remove_file(self.balloon()) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// Copies what is on the disk beside it, as the disk goes with the process.
    pub(super) fn save(&self) -> Result<()> {
        self.empty()?;
        run(Command::new("cp")
            .arg("-a")
            .arg(&self.mounted)
            .arg(self.mounted.with_extension("saved")))
    }

    fn balloon(&self) -> PathBuf {
        self.mounted.join("balloon")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // The namespace takes it away at last.
        let _ = run(Command::new("umount").arg("--lazy").arg(&self.mounted));
    }
}

/// Runs a command to its end.
pub(super) fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("cannot run {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
