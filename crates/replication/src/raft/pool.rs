//! The threads on which state machines run, so that a stalled write never holds up the
//! runtime that carries heartbeats and votes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use breccia_types::{ReplicaId, ShardId};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use super::machine::{MachineSource, ReplicaMachine};
use crate::consensus::ApplyError;

/// Jobs that may wait for one thread; a shard has few at a time, and waits when it is full.
const JOBS_WAITING_MAX: usize = 1_024;

type Job = Box<dyn FnOnce() + Send>;

/// A few threads that apply entries; each shard always runs on the same one.
#[derive(Debug)]
pub struct ApplyPool {
    threads: Vec<mpsc::Sender<Job>>,
}

impl ApplyPool {
    /// Starts the threads, at least one. They end when the pool and all replicas that use it
    /// are gone.
    ///
    /// # Errors
    /// The operating system's, if a thread cannot be started.
    pub fn start(threads: usize) -> std::io::Result<Self> {
        let start = |number: usize| {
            let (sender, mut jobs) = mpsc::channel::<Job>(JOBS_WAITING_MAX);
            std::thread::Builder::new().name(format!("apply-{number}")).spawn(move || {
                while let Some(job) = jobs.blocking_recv() {
                    // Whoever waits for the job learns of a panic by its missing reply.
                    let _ = catch_unwind(AssertUnwindSafe(job));
                }
            })?;
            Ok(sender)
        };
        Ok(Self { threads: (0..threads.max(1)).map(start).collect::<std::io::Result<_>>()? })
    }

    /// Opens a replica's machine on the shard's thread.
    pub(crate) async fn open(
        &self,
        source: Arc<dyn MachineSource>,
        shard: ShardId,
        replica: ReplicaId,
    ) -> Result<MachineHandle, ApplyError> {
        let at = usize::try_from(shard.get()).unwrap_or(0) % self.threads.len();
        let jobs = self.threads.get(at).ok_or_else(lost)?.clone();
        let machine = run(&jobs, move || source.open(shard, replica)).await??;
        Ok(MachineHandle { jobs, machine: Arc::new(Mutex::new(Some(machine))) })
    }
}

/// A replica's machine and the thread it runs on.
#[derive(Clone)]
pub(crate) struct MachineHandle {
    jobs: mpsc::Sender<Job>,
    /// Only ever locked on that thread, so never contended. Empty once it is retired.
    machine: Arc<Mutex<Option<Box<dyn ReplicaMachine>>>>,
}

impl MachineHandle {
    /// Runs a job on the machine, after all that were given before.
    pub(crate) async fn with<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut dyn ReplicaMachine) -> Result<T, ApplyError> + Send + 'static,
    ) -> Result<T, ApplyError> {
        let machine = Arc::clone(&self.machine);
        let job = move || match machine.lock().as_mut() {
            Some(machine) => job(machine.as_mut()),
            None => Err(ApplyError::Quarantined { reason: "the replica is closed".to_owned() }),
        };
        run(&self.jobs, job).await?
    }

    /// Drops the machine, after all jobs that were given before. When this returns, nothing
    /// that is still left of the replica's run can touch its data, and it may be opened again.
    pub(crate) async fn retire(&self) {
        let machine = Arc::clone(&self.machine);
        // A panic while it is dropped leaves it dropped.
        let _ = run(&self.jobs, move || drop(machine.lock().take())).await;
    }
}

async fn run<T: Send + 'static>(
    jobs: &mpsc::Sender<Job>,
    job: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ApplyError> {
    let (reply, result) = oneshot::channel();
    let job = Box::new(move || {
        // The replica may have been closed meanwhile.
        let _ = reply.send(job());
    });
    jobs.send(job).await.map_err(|_| lost())?;
    result.await.map_err(|_| lost())
}

fn lost() -> ApplyError {
    ApplyError::Quarantined { reason: "the state machine panicked".to_owned() }
}
