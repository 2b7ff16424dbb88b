//! Keeps a replica running: opens it, looks after it while it runs, and starts it again with
//! growing pauses when it failed, until it has failed too often.

use std::sync::Arc;
use std::time::Duration;

use openraft::async_runtime::watch::WatchReceiver;
use openraft::{AsyncRuntime, Instant as _};
use openraft_rt_tokio::TokioInstant;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::compaction::LogBudget;
use super::duties::Duties;
use super::instance::{Instance, OpenError, Opener};
use super::receive::Receiver;
use super::runtime::GroupRuntime;
use super::shared::{GroupHealth, Shared};

/// Failures within [`FAILURES_WINDOW`] after which a replica is given up.
const FAILURES_MAX: usize = 5;
/// How long a failure counts.
const FAILURES_WINDOW: Duration = Duration::from_secs(600);
/// How long a state machine may take to finish what it does when its replica is closed.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);
/// The longest pause before a failed replica is started again.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Runs one replica.
pub(crate) struct Supervisor {
    pub(crate) shared: Arc<Shared>,
    pub(crate) opener: Arc<dyn Opener>,
    pub(crate) receiver: Arc<Receiver>,
    pub(crate) log_budget: Arc<LogBudget>,
}

enum Ended {
    Closed,
    Failed(String),
}

impl Supervisor {
    /// Runs the replica until it is closed or given up. Tells `first` how the first attempt
    /// to open it went.
    pub(crate) async fn run(self, first: oneshot::Sender<Result<(), OpenError>>) {
        let mut first = Some(first);
        let mut failures = Vec::new();
        loop {
            let opened = self.open().await;
            if let Some(first) = first.take() {
                let _ = first.send(opened.as_ref().map(|_| ()).map_err(OpenError::clone));
            }
            let reason = match opened {
                Ok(instance) => match self.run_instance(instance).await {
                    Ended::Closed => break,
                    Ended::Failed(reason) => reason,
                },
                Err(error) => error.to_string(),
            };
            failures.retain(|at: &Instant| at.elapsed() < FAILURES_WINDOW);
            failures.push(Instant::now());
            if !self.pause(reason, failures.len()).await {
                break;
            }
        }
        self.shared.set_health(GroupHealth::Closed);
    }

    async fn open(&self) -> Result<Arc<Instance>, OpenError> {
        let Shared { shard, replica, .. } = *self.shared;
        let instance = Arc::new(self.opener.open(shard, replica).await?);
        self.receiver.host(shard, replica, Arc::clone(&instance));
        self.shared.set_instance(Some(Arc::clone(&instance)));
        self.shared.set_health(GroupHealth::Running);
        Ok(instance)
    }

    async fn run_instance(&self, instance: Arc<Instance>) -> Ended {
        let ended = self.look_after(&instance).await;
        self.receiver.forget(self.shared.shard);
        self.shared.set_instance(None);
        let closing = instance.close();
        tokio::pin!(closing);
        if matches!(ended, Ended::Failed(_)) {
            // Before it has ended it cannot be started again.
            tokio::select! {
                () = &mut closing => return ended,
                () = self.shared.closed() => {}
            }
        }
        if tokio::time::timeout(CLOSE_PATIENCE, closing).await.is_err() {
            tracing::error!(shard = %self.shared.shard, "the state machine hangs");
        }
        ended
    }

    async fn look_after(&self, instance: &Arc<Instance>) -> Ended {
        let mut duties = Duties::new(Arc::clone(&self.shared), self.log_budget.share());
        let mut server = instance.raft.server_metrics();
        let next = || TokioInstant::now() + self.shared.timing.heartbeat;
        let mut due = next();
        loop {
            tokio::select! {
                () = self.shared.closed() => return Ended::Closed,
                changed = server.changed() => if changed.is_err() {
                    return Ended::Failed(reason_of(instance));
                },
                () = GroupRuntime::sleep_until(due) => due = next(),
            }
            if instance.raft.metrics().borrow_watched().running_state.is_err() {
                return Ended::Failed(reason_of(instance));
            }
            duties.perform(instance, self.opener.no_room()).await;
        }
    }

    /// Waits before the next attempt. `false` if there shall be none.
    async fn pause(&self, reason: String, failures: usize) -> bool {
        let Shared { shard, replica, .. } = *self.shared;
        if failures >= FAILURES_MAX {
            tracing::error!(%shard, %replica, %reason, failures, "the replica is given up");
            self.shared.set_health(GroupHealth::Quarantined { reason });
            self.shared.closed().await;
            return false;
        }
        tracing::warn!(%shard, %replica, %reason, failures, "the replica is started again");
        self.shared.set_health(GroupHealth::Restarting { reason, failures });
        let doublings = u32::try_from(failures.saturating_sub(1)).unwrap_or(u32::MAX);
        let factor = 2_u32.saturating_pow(doublings);
        let pause = self.shared.timing.restart_pause.saturating_mul(factor).min(PAUSE_MAX);
        tokio::select! {
            () = tokio::time::sleep(pause) => true,
            () = self.shared.closed() => false,
        }
    }
}

fn reason_of(instance: &Instance) -> String {
    if let Some(failed) = instance.progress.failed() {
        return failed.to_string();
    }
    match &instance.raft.metrics().borrow_watched().running_state {
        Err(fatal) => fatal.to_string(),
        Ok(()) => "its task panicked".to_owned(),
    }
}
