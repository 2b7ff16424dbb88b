//! Reduce functions as reductions: what travels to every shard, and how partials come
//! together on the way back.

use std::sync::Arc;

use breccia_service::reduce::{AnyReduce, ReduceError, Reductions, Rows};
use breccia_types::limits::REDUCE_STATE_BYTES_MAX;
use breccia_types::wire::{DecodeError, Reader, Writer};
use breccia_types::{Function, FunctionKind, ReductionId, RequestError, Table, TableKind};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::modules::Modules;
use crate::service::{FunctionVersion, presented};
use crate::{Batch, FunctionError, Reducer};

/// The id of this reduction.
pub const REDUCTION_ID: ReductionId = ReductionId::new(5);

const FORMAT: u8 = 1;

/// These reductions and that by functions, with the modules that the node keeps compiled.
#[must_use]
pub fn with_functions(reductions: Reductions, modules: Arc<Modules>) -> Reductions {
    reductions.with_decoder(REDUCTION_ID, move |request| {
        let (request, modules) = (Request::decode(request)?, Arc::clone(&modules));
        Ok(Box::new(ByFunction { request, modules }))
    })
}

/// What is asked: `format u8 | head, JSON | argument`.
pub(crate) struct Request {
    head: Head,
    arg: Bytes,
}

#[derive(Serialize, Deserialize)]
struct Head {
    function: FunctionVersion,
    /// The table's kind, as its name.
    kind: String,
}

impl Request {
    /// The reduction of a table's rows by a function.
    ///
    /// # Errors
    /// [`RequestError::WrongFunctionKind`].
    pub(crate) fn new(
        function: &Function,
        table: &Table,
        arg: Bytes,
    ) -> Result<Self, RequestError> {
        if function.kind != FunctionKind::Reduce {
            let (name, kind) = (function.name.clone(), function.kind);
            let needed = FunctionKind::Reduce;
            return Err(RequestError::WrongFunctionKind { name, kind, needed });
        }
        let kind = table.options.kind.to_string();
        Ok(Self { head: Head { function: function.into(), kind }, arg })
    }

    pub(crate) fn encode(&self) -> Bytes {
        let mut out = vec![FORMAT];
        let mut to = Writer::new(&mut out);
        // Only a map with keys that are no text could fail, and there is none.
        to.put_bytes(&serde_json::to_vec(&self.head).unwrap_or_default());
        to.put_bytes(&self.arg);
        out.into()
    }

    fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let mut from = Reader::new(bytes);
        match from.take_u8()? {
            FORMAT => {}
            version => return Err(DecodeError::UnknownVersion { version }),
        }
        let at = from.position();
        let head = serde_json::from_slice(&from.take_bytes()?)
            .map_err(|_| DecodeError::OutOfRange { at })?;
        let arg = from.take_bytes()?;
        from.finish()?;
        Ok(Self { head, arg })
    }
}

/// A reduction by a function. A partial is a state, as the function writes it.
struct ByFunction {
    request: Request,
    modules: Arc<Modules>,
}

impl ByFunction {
    fn reducer(&self) -> Result<Reducer, ReduceError> {
        let function = &self.request.head.function;
        let module = self.modules.load(function).map_err(ReduceError::Stated)?;
        let reducer = module.reducer(&function.limits, self.request.arg.clone());
        reducer.map_err(|error| self.stated(&error))
    }

    fn stated(&self, error: &FunctionError) -> ReduceError {
        ReduceError::Stated(self.request.head.function.failed(error))
    }
}

impl AnyReduce for ByFunction {
    fn name(&self) -> &'static str {
        "function"
    }

    /// What users wrote may take its time.
    fn combines_at_once(&self) -> bool {
        false
    }

    fn partial_bytes(&self, rows: &mut Rows<'_>) -> Result<Bytes, ReduceError> {
        let mut reducer = self.reducer()?;
        let (mut state, mut batch) = (Bytes::new(), Batch::default());
        let mut failure = None;
        let kind: TableKind = self
            .request
            .head
            .kind
            .parse()
            .map_err(|error| ReduceError::Stated(RequestError::from(error)))?;
        rows.visit_while(|row| {
            let stepped = presented(&kind, row.value).and_then(|value| {
                batch.push(row.key, &value);
                if batch.is_full() {
                    state = reducer.step(&state, &batch)?;
                    batch.clear();
                }
                Ok(())
            });
            Ok(match stepped {
                Ok(()) => std::ops::ControlFlow::Continue(()),
                Err(error) => {
                    failure = Some(error);
                    std::ops::ControlFlow::Break(())
                }
            })
        })?;
        if let Some(error) = failure {
            return Err(self.stated(&error));
        }
        if !batch.is_empty() || state.is_empty() {
            state = reducer.step(&state, &batch).map_err(|error| self.stated(&error))?;
        }
        bounded(state)
    }

    fn combine_bytes(&self, left: Bytes, right: Bytes) -> Result<Bytes, ReduceError> {
        let combined = self.reducer()?.combine(&left, &right);
        bounded(combined.map_err(|error| self.stated(&error))?)
    }

    fn present_bytes(&self, whole: Bytes) -> Result<String, ReduceError> {
        let shown = self.reducer()?.present(&whole).map_err(|error| self.stated(&error))?;
        let text = String::from_utf8_lossy(&shown);
        Ok(match serde_json::from_str::<serde::de::IgnoredAny>(&text) {
            Ok(_) => text.into_owned(),
            Err(_) => serde_json::Value::String(text.into_owned()).to_string(),
        })
    }
}

fn bounded(state: Bytes) -> Result<Bytes, ReduceError> {
    match state.len() <= REDUCE_STATE_BYTES_MAX {
        true => Ok(state),
        false => Err(ReduceError::TooLarge { bytes: state.len() }),
    }
}
