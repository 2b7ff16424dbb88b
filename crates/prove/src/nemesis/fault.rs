//! What can happen.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// Something that happens to nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fault {
    /// A node is killed at once and started again.
    Kill,
    /// All nodes are killed together and started again.
    KillAll,
    /// A node is ended by SIGTERM and started again.
    Terminate,
    /// A node stands still for longer than an election, and is asked the moment it goes on.
    Pause,
    /// A node runs a third of the time, in slices.
    Slow,
    /// A node and all others do not hear each other. Clients hear all.
    Partition,
    /// A node hears all others and is not heard, or the other way round.
    OneWay,
    /// Two nodes do not hear each other; a third hears both.
    Link,
    /// A node's disk is full, or nearly.
    Disk,
    /// The disks of two nodes are full, or nearly: too few have room to agree on anything.
    Disks,
    /// A node loses its data and joins again, empty.
    Wipe,
}

/// There is no such fault.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("there is no fault {name:?}; there are {}", Fault::names())]
pub struct UnknownFault {
    /// What was asked for.
    pub name: String,
}

impl Fault {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Kill,
        Self::KillAll,
        Self::Terminate,
        Self::Pause,
        Self::Slow,
        Self::Partition,
        Self::OneWay,
        Self::Link,
        Self::Disk,
        Self::Disks,
        Self::Wipe,
    ];

    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::KillAll => "kill-all",
            Self::Terminate => "terminate",
            Self::Pause => "pause",
            Self::Slow => "slow",
            Self::Partition => "partition",
            Self::OneWay => "one-way",
            Self::Link => "link",
            Self::Disk => "disk",
            Self::Disks => "disks",
            Self::Wipe => "wipe",
        }
    }

    fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }

    /// Whether it cuts links between nodes.
    #[must_use]
    pub const fn needs_network(self) -> bool {
        matches!(self, Self::Partition | Self::OneWay | Self::Link)
    }

    /// Whether it fills disks.
    #[must_use]
    pub const fn needs_small_disks(self) -> bool {
        matches!(self, Self::Disk | Self::Disks)
    }

    /// Whether a cluster of so many nodes promises to lose nothing by it, or can suffer it
    /// at all.
    #[must_use]
    pub const fn is_survivable(self, nodes: usize) -> bool {
        match self {
            Self::Partition | Self::OneWay | Self::Link | Self::Disks | Self::Wipe => nodes >= 3,
            _ => true,
        }
    }

    /// All that a cluster of so many nodes should survive.
    #[must_use]
    pub fn survivable(nodes: usize) -> Vec<Self> {
        let fits =
            |fault: &Self| fault.is_survivable(nodes) && (nodes > 1 || *fault != Self::KillAll);
        Self::ALL.into_iter().filter(fits).collect()
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Fault {
    type Err = UnknownFault;

    fn from_str(name: &str) -> Result<Self, UnknownFault> {
        let found = Self::ALL.into_iter().find(|fault| fault.name() == name);
        found.ok_or_else(|| UnknownFault { name: name.to_owned() })
    }
}
