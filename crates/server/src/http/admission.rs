//! Bounds what all requests together keep in memory: bodies on their way in, and open scans.

use std::sync::Arc;

use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::http::Extensions;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures::StreamExt;
use parking_lot::Mutex;
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::app::App;
use super::grpc;
use super::limits::{BODY_BYTES_IN_FLIGHT_MAX, SCANS_OPEN_MAX};
use super::rest::Problem;

/// More is asked of the front end than it may hold. The client must try again later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub(crate) enum Overload {
    #[error(
        "request bodies of {BODY_BYTES_IN_FLIGHT_MAX} bytes are on their way in already; try \
         again a little later"
    )]
    Bodies,
    #[error(
        "{SCANS_OPEN_MAX} scans and reductions are under way already; try again a little later"
    )]
    Scans,
}

/// What may still be taken in.
#[derive(Debug)]
pub(crate) struct Admission {
    body_bytes: Arc<Semaphore>,
    scans: Arc<Semaphore>,
}

impl Default for Admission {
    fn default() -> Self {
        Self {
            body_bytes: Arc::new(Semaphore::new(BODY_BYTES_IN_FLIGHT_MAX)),
            scans: Arc::new(Semaphore::new(SCANS_OPEN_MAX)),
        }
    }
}

/// The right to a scan or a reduction; ends when it is dropped.
#[derive(Debug)]
pub(crate) struct ScanPermit(#[expect(dead_code, reason = "held, not read")] OwnedSemaphorePermit);

impl Admission {
    /// Makes room for one more streamed scan, or reduction.
    pub(crate) fn open_scan(&self) -> Result<ScanPermit, Overload> {
        let permit = Arc::clone(&self.scans).try_acquire_owned();
        permit.map(ScanPermit).map_err(|_| Overload::Scans)
    }
}

/// The bytes of one request's body that are in memory. Clones are the same request's.
#[derive(Debug, Clone, Default)]
pub(crate) struct Held(Arc<Mutex<HeldBytes>>);

#[derive(Debug, Default)]
struct HeldBytes {
    permit: Option<OwnedSemaphorePermit>,
    refused: bool,
}

impl Held {
    /// What the request with these extensions holds.
    pub(crate) fn of(extensions: &Extensions) -> Self {
        extensions.get().cloned().unwrap_or_default()
    }

    /// Says that the handler has done with the bytes that it read.
    pub(crate) fn release(&self) {
        self.0.lock().permit = None;
    }

    /// Why the body broke off, if it did for want of room.
    pub(crate) fn overload(&self) -> Option<Overload> {
        self.0.lock().refused.then_some(Overload::Bodies)
    }

    fn take(&self, budget: &Arc<Semaphore>, bytes: usize) -> Result<(), Overload> {
        let taken = u32::try_from(bytes)
            .ok()
            .and_then(|bytes| Arc::clone(budget).try_acquire_many_owned(bytes).ok());
        let mut held = self.0.lock();
        match (taken, &mut held.permit) {
            (Some(taken), Some(permit)) => permit.merge(taken),
            (Some(taken), none) => *none = Some(taken),
            (None, _) => {
                held.refused = true;
                return Err(Overload::Bodies);
            }
        }
        Ok(())
    }
}

/// Counts the bytes of a request's body while they are in memory, and answers that the
/// server is busy if there are too many of all requests.
pub(crate) async fn admit(State(app): State<App>, request: Request, next: Next) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let is_grpc = grpc::is_grpc(request.headers());
    let held = Held::default();
    let (mut parts, body) = request.into_parts();
    parts.extensions.insert(held.clone());
    let counted = count(body, held.clone(), Arc::clone(&app.admission.body_bytes));
    let response = next.run(Request::from_parts(parts, counted)).await;
    match held.overload() {
        None => response,
        Some(overload) if is_grpc => grpc::busy(overload).into_http(),
        Some(overload) => Problem::from(overload).into_response(),
    }
}

fn count(body: Body, held: Held, budget: Arc<Semaphore>) -> Body {
    let pieces = body.into_data_stream().map(move |piece: Result<Bytes, axum::Error>| {
        let piece = piece?;
        held.take(&budget, piece.len()).map_err(axum::Error::new)?;
        Ok::<_, axum::Error>(piece)
    });
    Body::from_stream(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_given_back_when_they_are_released_or_their_request_ends() {
        let budget = Arc::new(Semaphore::new(100));
        let first = Held::default();
        first.take(&budget, 40).expect("room");
        first.take(&budget, 40).expect("room");
        let second = Held::default();
        assert_eq!(second.take(&budget, 40), Err(Overload::Bodies));
        assert_eq!(second.overload(), Some(Overload::Bodies));
        first.release();
        assert_eq!(budget.available_permits(), 100);
        first.take(&budget, 100).expect("room");
        drop(first);
        assert_eq!(budget.available_permits(), 100);
    }

    #[test]
    fn one_scan_too_many_is_refused_until_another_ends() {
        let admission = Admission::default();
        let mut open: Vec<_> =
            (0..SCANS_OPEN_MAX).map(|_| admission.open_scan().expect("room")).collect();
        assert!(admission.open_scan().is_err());
        open.pop();
        assert!(admission.open_scan().is_ok());
    }
}
