//! The service that runs read and write functions beside the rows of a shard.
//!
//! A call names the version of a function by the digest of its module. For a read function a
//! node takes the module from what it holds of the meta shard. For a write function the module
//! lies in the shard itself, among the shard's own records: whoever calls first puts it into
//! the shard's log before the call. So every replica has the same module at the same position
//! of the log, whatever it knows of the meta shard, and a snapshot takes it along.

mod installed;
mod rows;
mod wire;

use std::sync::Arc;

use breccia_service::kv;
use breccia_service::machine::is_dropped;
use breccia_service::{ReadError, Service, ServiceContext, WriteError};
use breccia_store::{Reader, StoreError};
use breccia_types::kv::KvWrite;
use breccia_types::limits::VALUE_BYTES_MAX;
use breccia_types::{RequestError, ServiceId, Table, TableKind, Timestamp};
use bytes::Bytes;

pub(crate) use rows::presented;
pub use wire::FunctionVersion;
pub(crate) use wire::{Call, Reply, Write};

use crate::modules::{Modules, digest_of};
use crate::{Change, FunctionError};
use rows::{Snapshot, Work};

/// The id of this service in log entries.
pub const SERVICE_ID: ServiceId = ServiceId::new(4);

/// Runs read and write functions.
#[derive(Clone)]
pub struct FunctionService {
    modules: Arc<Modules>,
}

impl FunctionService {
    /// The service of a node, with the modules that the node keeps compiled.
    #[must_use]
    pub const fn new(modules: Arc<Modules>) -> Self {
        Self { modules }
    }

    fn run(&self, context: &mut ServiceContext<'_, '_>, call: &Call) -> Result<Reply, WriteError> {
        if context.dropped.contains(call.table.id) {
            return Ok(Reply::TableDropped);
        }
        let digest = call.function.digest;
        let Some(stored) = installed::find(context.transaction, digest)? else {
            return Err(WriteError::Missing);
        };
        let module = match self.modules.compiled(digest, &stored) {
            Ok(module) => module,
            Err(error) => return Ok(Reply::Failed(error.to_string())),
        };
        let now = context.transaction.stamp();
        let mut work = Work::new(context.transaction, call.place()?);
        let written = module.write(&call.function.limits, &mut work, &call.input(now));
        if let Some(error) = work.into_failure() {
            return Err(error.into());
        }
        let changes = match written {
            Ok(written) => {
                *context.fuel_used = context.fuel_used.saturating_add(written.fuel);
                let changes = written.changes.into_iter();
                let writes = changes.map(|change| command(&call.table, change));
                writes.collect::<Result<Vec<_>, _>>().map(|writes| (writes, written.reply))
            }
            // This replica alone cannot run it: it must not go on as if nothing were.
            Err(FunctionError::Host { reason }) => {
                return Err(
                    StoreError::Io { operation: "running a function", detail: reason }.into()
                );
            }
            Err(error) => {
                *context.fuel_used = context.fuel_used.saturating_add(call.function.limits.fuel);
                Err(error.to_string())
            }
        };
        let (writes, reply) = match changes {
            Ok(changes) => changes,
            Err(reason) => return Ok(Reply::Failed(reason)),
        };
        for write in writes {
            kv::apply(context.transaction, context.dropped, &write)?;
        }
        Ok(Reply::Returned(reply))
    }
}

impl Service for FunctionService {
    fn id(&self) -> ServiceId {
        SERVICE_ID
    }

    fn write(
        &self,
        context: &mut ServiceContext<'_, '_>,
        command: Bytes,
    ) -> Result<Bytes, WriteError> {
        let reply = match Write::decode(command)? {
            Write::Call(call) => self.run(context, &call)?,
            Write::Install { digest, module } if digest_of(&module) != digest => {
                let reason = "the module is not the one that its digest names".to_owned();
                return Err(WriteError::Malformed { reason });
            }
            Write::Install { digest, module } => {
                installed::put(context.transaction, digest, &module)?;
                Reply::Done
            }
            Write::Uninstall { digest } => {
                installed::remove(context.transaction, digest)?;
                Reply::Done
            }
        };
        Ok(reply.encode())
    }

    fn read(&self, shard: &dyn Reader, now: Timestamp, request: Bytes) -> Result<Bytes, ReadError> {
        let call = Call::decode(request)?;
        if is_dropped(shard, call.table.id)? {
            return Err(ReadError::Refused(RequestError::TableDropped { id: call.table.id }));
        }
        let module = self.modules.load(&call.function).map_err(ReadError::Refused)?;
        let mut rows = Snapshot::new(shard, now, call.place()?);
        let replied = module.read(&call.function.limits, &mut rows, &call.input(now));
        match (rows.into_failure(), replied) {
            (Some(error), _) => Err(error.into()),
            (None, Ok(reply)) => Ok(reply),
            (None, Err(error)) => Err(ReadError::Refused(call.function.failed(&error))),
        }
    }
}

/// The command that makes a change to a row.
fn command(table: &Table, change: Change) -> Result<KvWrite, String> {
    match (change, &table.options.kind) {
        (Change::Delete { key }, _) => Ok(table.delete(key)),
        (Change::Put { value, .. } | Change::Merge { operand: value, .. }, _)
            if value.len() > VALUE_BYTES_MAX =>
        {
            Err(format!("a value has {} bytes; at most {VALUE_BYTES_MAX} are allowed", value.len()))
        }
        (Change::Put { key, value }, TableKind::Monoid(monoid)) => {
            let state = monoid.parse_operand(&value).map_err(|error| error.to_string())?;
            Ok(table.put(key, state.into()))
        }
        (Change::Put { key, value }, _) => Ok(table.put(key, value)),
        (Change::Merge { key, operand }, TableKind::Monoid(monoid)) => {
            let operand = monoid.parse_operand(&operand).map_err(|error| error.to_string())?;
            Ok(table.merge(key, operand.into()))
        }
        (Change::Merge { .. }, kind) => {
            Err(format!("it merges into a {} table; only monoid tables merge", kind.name()))
        }
    }
}

#[cfg(test)]
mod tests;
