//! Asking another node for its branch of a reduction.

use std::time::Duration;

use breccia_transport::{Lane, Open, TransportError};
use breccia_types::RequestError;
use breccia_types::limits::REDUCE_PROGRESS_INTERVAL;
use breccia_types::reduce::{Meter, Progress};
use tokio::time::{Instant, timeout, timeout_at};

use super::gathered::{Gathered, Missed};
use super::plan::Branch;
use super::wire::{Message, Request};
use super::{Inner, MARGIN_MAX, METHOD, Work, late};

/// How long a node may be silent: it tells its progress far more often.
const SILENCE_MAX: Duration = Duration::from_secs(4);

const _: () = assert!(SILENCE_MAX.as_millis() > 10 * REDUCE_PROGRESS_INTERVAL.as_millis());

/// Why there is no answer of a branch.
enum Lost {
    /// Its node could not be asked, or was lost.
    Contact(String),
    /// The reduction failed for good.
    Failed(RequestError),
}

impl Inner {
    /// What a branch comes to. If its node is lost, so is the whole branch, with the shards
    /// of nodes behind it that may have answered.
    pub(super) async fn ask(&self, branch: Branch, work: &Work) -> Result<Gathered, RequestError> {
        let mut told = Told { meter: &work.meter, progress: Progress::default() };
        let heard = timeout_at(work.deadline, self.hear(&branch, work, &mut told)).await;
        let reason = match heard {
            Ok(Ok(gathered)) if gathered.answers(branch.shards()) => {
                told.is_for_good();
                return Ok(gathered);
            }
            Ok(Ok(_)) => {
                format!("{} answered for other shards than it was asked", branch.head.node)
            }
            Ok(Err(Lost::Failed(error))) => return Err(error),
            Ok(Err(Lost::Contact(reason))) => reason,
            Err(_) => late(),
        };
        tracing::debug!(node = %branch.head.node, reason, "a branch of a reduction is lost");
        let head = branch.head.shards.len();
        let missed = branch.shards().enumerate().map(|(at, shard)| Missed {
            shard,
            // Of the others nobody knows whether their nodes would have answered.
            asked: (at < head).then_some(branch.head.node),
            leader: None,
            reason: reason.clone(),
        });
        Ok(Gathered::none(missed.collect()))
    }

    async fn hear(
        &self,
        branch: &Branch,
        work: &Work,
        told: &mut Told<'_>,
    ) -> Result<Gathered, Lost> {
        let (router, node) = (&self.router.0, branch.head.node);
        let left = work.deadline.saturating_duration_since(Instant::now());
        let request = Request {
            time_left: left.saturating_sub((left / 10).min(MARGIN_MAX)),
            consistency: work.consistency,
            order: work.order.as_ref().clone(),
            own: branch.head.shards.clone(),
            others: branch.rest.clone(),
        };
        let open = Open { method: METHOD, header: request.encode(), lane: Lane::Bulk };
        let lost = |error: TransportError| {
            if matches!(error, TransportError::Unreachable { .. }) {
                router.suspects.add(node);
            }
            Lost::Contact(error.to_string())
        };
        let mut stream = router.transport.open(node, open).await.map_err(lost)?;
        loop {
            let heard = timeout(SILENCE_MAX, stream.receiver.receive()).await;
            let Ok(heard) = heard else {
                router.suspects.add(node);
                return Err(Lost::Contact(format!("{node} has been silent for {SILENCE_MAX:?}")));
            };
            let unread = |reason| Lost::Contact(format!("{node} does not make sense: {reason}"));
            let message = match heard {
                Some(message) => message.map_err(lost)?,
                None => return Err(Lost::Contact(format!("{node} broke off"))),
            };
            match Message::decode(message).map_err(|error| unread(error.to_string()))? {
                Message::Progress(progress) => told.set(progress),
                Message::Gathered(gathered) => return Ok(gathered),
                Message::Failed(error) => return Err(Lost::Failed(error)),
            }
        }
    }
}

/// What the meter was told of a branch; taken back when it is dropped.
struct Told<'m> {
    meter: &'m Meter,
    progress: Progress,
}

impl Told<'_> {
    fn set(&mut self, progress: Progress) {
        self.meter.add(progress);
        self.meter.take_back(std::mem::replace(&mut self.progress, progress));
    }

    fn is_for_good(&mut self) {
        self.progress = Progress::default();
    }
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        self.meter.take_back(self.progress);
    }
}
