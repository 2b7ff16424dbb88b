//! A machine that lists the commands it has applied.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use breccia_types::wire::{Reader, Writer};
use breccia_types::{Entry, Outcome, ReplicaId, ShardId, Timestamp};
use bytes::Bytes;
use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::consensus::ApplyError;
use crate::raft::machine::{MachineSource, ReplicaMachine};

/// What a replica holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) position: Option<Bytes>,
    pub(crate) commands: Vec<Bytes>,
    pub(crate) stamps: Vec<Timestamp>,
}

/// What goes wrong on purpose.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// Nothing is applied or installed, and no error comes.
    pub(crate) is_frozen: bool,
    pub(crate) has_no_room: bool,
    pub(crate) fails_install: bool,
    pub(crate) fails_apply: bool,
}

#[derive(Debug, Default)]
struct Disk {
    visible: Content,
    durable: Content,
    installs: usize,
}

/// The machines of a node.
#[derive(Clone, Default)]
pub(crate) struct ToyMachines {
    disks: Arc<Mutex<BTreeMap<(ShardId, ReplicaId), Disk>>>,
    faults: Arc<(Mutex<Faults>, Condvar)>,
}

pub(crate) struct ToyMachine {
    machines: ToyMachines,
    key: (ShardId, ReplicaId),
}

impl ToyMachines {
    /// Makes a replica that starts at a position.
    pub(crate) fn begin(&self, shard: ShardId, replica: ReplicaId, position: Bytes) {
        let content = Content { position: Some(position), ..Content::default() };
        let disk = Disk { visible: content.clone(), durable: content, installs: 0 };
        self.disks.lock().insert((shard, replica), disk);
    }

    pub(crate) fn content(&self, shard: ShardId, replica: ReplicaId) -> Content {
        self.disks.lock().get(&(shard, replica)).map(|d| d.visible.clone()).unwrap_or_default()
    }

    pub(crate) fn installs(&self, shard: ShardId, replica: ReplicaId) -> usize {
        self.disks.lock().get(&(shard, replica)).map_or(0, |disk| disk.installs)
    }

    /// Loses what is not durable.
    pub(crate) fn lose_power(&self) {
        for disk in self.disks.lock().values_mut() {
            disk.visible = disk.durable.clone();
        }
    }

    pub(crate) fn set(&self, change: impl FnOnce(&mut Faults)) {
        change(&mut self.faults.0.lock());
        self.faults.1.notify_all();
    }
}

impl MachineSource for ToyMachines {
    fn open(
        &self,
        shard: ShardId,
        replica: ReplicaId,
    ) -> Result<Box<dyn ReplicaMachine>, ApplyError> {
        self.disks.lock().entry((shard, replica)).or_default();
        Ok(Box::new(ToyMachine { machines: self.clone(), key: (shard, replica) }))
    }
}

impl ToyMachine {
    fn with<T>(&self, job: impl FnOnce(&mut Disk) -> T) -> T {
        job(self.machines.disks.lock().entry(self.key).or_default())
    }

    fn faults_once_thawed(&self) -> MutexGuard<'_, Faults> {
        let (faults, changed) = &*self.machines.faults;
        let mut faults = faults.lock();
        while faults.is_frozen {
            changed.wait_for(&mut faults, Duration::from_secs(60));
        }
        faults
    }
}

fn storage(error: std::io::Error) -> ApplyError {
    ApplyError::Storage { reason: error.to_string() }
}

impl ReplicaMachine for ToyMachine {
    fn position(&self) -> Result<Option<Bytes>, ApplyError> {
        Ok(self.with(|disk| disk.visible.position.clone()))
    }

    fn apply(
        &mut self,
        entries: Vec<Entry>,
        position: Bytes,
    ) -> Result<Vec<Vec<Outcome>>, ApplyError> {
        let mut faults = self.faults_once_thawed();
        if faults.has_no_room {
            return Err(ApplyError::ReadOnly { reason: "full".to_owned() });
        }
        if std::mem::take(&mut faults.fails_apply) {
            return Err(ApplyError::Storage { reason: "broken".to_owned() });
        }
        drop(faults);
        self.with(|disk| {
            disk.visible.position = Some(position);
            let mut outcomes = Vec::new();
            for entry in entries {
                disk.visible.stamps.push(entry.stamp);
                outcomes.push(entry.commands.iter().map(|c| Ok(c.payload.clone())).collect());
                disk.visible.commands.extend(entry.commands.into_iter().map(|c| c.payload));
            }
            Ok(outcomes)
        })
    }

    fn durable_position(&mut self) -> Result<Option<Bytes>, ApplyError> {
        Ok(self.with(|disk| {
            disk.durable = disk.visible.clone();
            disk.durable.position.clone()
        }))
    }

    fn export(&mut self, into: &Path) -> Result<Bytes, ApplyError> {
        let content = self.with(|disk| disk.visible.clone());
        let mut commands = Vec::new();
        let mut to = Writer::new(&mut commands);
        to.put_many(&content.commands, |to, command| to.put_bytes(command));
        std::fs::write(into.join("commands"), commands).map_err(storage)?;
        let mut stamps = Vec::new();
        let mut to = Writer::new(&mut stamps);
        to.put_many(&content.stamps, |to, stamp| to.put_zigzag(stamp.as_micros()));
        std::fs::write(into.join("stamps"), stamps).map_err(storage)?;
        Ok(content.position.expect("something was applied"))
    }

    fn install(&mut self, from: &Path, position: &Bytes) -> Result<(), ApplyError> {
        let read = |name: &str| std::fs::read(from.join(name)).map(Bytes::from).map_err(storage);
        let mut commands = Reader::new(read("commands")?);
        let mut stamps = Reader::new(read("stamps")?);
        let stamp = |from: &mut Reader| from.take_zigzag().map(Timestamp::from_micros);
        let content = Content {
            position: Some(position.clone()),
            commands: commands.take_many(1, Reader::take_bytes).expect("commands"),
            stamps: stamps.take_many(1, stamp).expect("stamps"),
        };
        if std::mem::take(&mut self.faults_once_thawed().fails_install) {
            return Err(ApplyError::Storage { reason: "power lost during install".to_owned() });
        }
        self.with(|disk| {
            disk.installs += 1;
            disk.visible = content.clone();
            disk.durable = content;
        });
        Ok(())
    }
}
