//! The functions of a cluster, as the front ends of a node deploy and call them.

use std::sync::Arc;

use breccia_node::{NewFunction, Node, Reduction};
use breccia_types::limits::{FUNCTION_INPUT_BYTES_MAX, KEY_BYTES_MAX};
use breccia_types::reduce::{Meter, Scope};
use breccia_types::{
    Command, Function, FunctionKind, FunctionLimits, Rejected, RequestError, RequestId, Table,
};
use bytes::Bytes;

use crate::FunctionError;
use crate::modules::{Modules, digest_of};
use crate::reduction::{REDUCTION_ID, Request};
use crate::service::{Call, FunctionVersion, Reply, SERVICE_ID, Write};

/// The functions of a cluster, as one of its nodes deploys and calls them. Cheap to clone.
#[derive(Clone)]
pub struct Functions {
    node: Node,
    modules: Arc<Modules>,
}

/// A call of a read or write function.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The function's name.
    pub function: String,
    /// What it must be; either of `read` and `write` if `None`.
    pub kind: Option<FunctionKind>,
    /// The keys that it is about, at least one and all of one slot.
    pub keys: Vec<Bytes>,
    /// What else it is given.
    pub args: Vec<Bytes>,
    /// Names the call, if a retry of it is to be applied once. Of a read function it is
    /// without effect.
    pub request_id: Option<RequestId>,
}

impl Functions {
    /// The functions of a node's cluster. The modules are those that the node was opened with,
    /// by [`FunctionService`](crate::FunctionService) and
    /// [`with_functions`](crate::with_functions).
    #[must_use]
    pub fn new(node: Node, modules: Arc<Modules>) -> Self {
        modules.attach(&node);
        Self { node, modules }
    }

    /// The same, with the reads of this handle of the node.
    #[must_use]
    pub fn at(&self, node: Node) -> Self {
        Self { node, modules: Arc::clone(&self.modules) }
    }

    /// The node.
    #[must_use]
    pub const fn node(&self) -> &Node {
        &self.node
    }

    /// The modules that the node keeps compiled.
    #[must_use]
    pub const fn modules(&self) -> &Arc<Modules> {
        &self.modules
    }

    /// The reduce functions that this node knows of, in their present versions.
    #[must_use]
    pub fn reduce_functions(&self) -> Vec<FunctionVersion> {
        let known = self.node.known_functions();
        let reduce = known.iter().filter(|function| function.kind == FunctionKind::Reduce);
        reduce.map(|function| FunctionVersion::from(function.as_ref())).collect()
    }

    /// Deploys a module under a name, as a further version if there is one. The same module
    /// with the same limits is no further version.
    ///
    /// # Errors
    /// [`RequestError::InvalidModule`] if it is none that can run, or as
    /// [`Node::deploy_function`].
    pub async fn deploy(
        &self,
        name: &str,
        limits: FunctionLimits,
        module: Bytes,
    ) -> Result<Arc<Function>, RequestError> {
        limits.check()?;
        let (modules, bytes) = (Arc::clone(&self.modules), module.clone());
        let compiled = blocking(move || {
            let digest = digest_of(&bytes);
            modules.compiled(digest, &bytes).map(|module| (digest, module))
        });
        let (digest, compiled) = compiled.await?.map_err(|error| invalid(&error))?;
        let (name, kind) = (name.to_owned(), compiled.kind());
        let before = self.node.function(&name).await.ok();
        let new = NewFunction { name, kind, limits, digest, module };
        let deployed = self.node.deploy_function(new).await?;
        if let Some(before) = before.filter(|before| before.digest != deployed.digest) {
            self.uninstall(before);
        }
        Ok(deployed)
    }

    /// All functions, by name.
    ///
    /// # Errors
    /// What asking the cluster reports.
    pub async fn list(&self) -> Result<Vec<Arc<Function>>, RequestError> {
        self.node.functions().await
    }

    /// Forgets a function; returns what it was. Calls that have begun may still end.
    ///
    /// # Errors
    /// [`RequestError::UnknownFunction`], or what writing reports.
    pub async fn remove(&self, name: &str) -> Result<Arc<Function>, RequestError> {
        let removed = self.node.remove_function(name).await?;
        self.uninstall(Arc::clone(&removed));
        Ok(removed)
    }

    /// Calls a read or write function. All of the call is done by one version.
    ///
    /// # Errors
    /// [`RequestError::UnknownFunction`], [`RequestError::WrongFunctionKind`],
    /// [`RequestError::CrossSlot`], [`RequestError::FunctionFailed`] with nothing written, or
    /// what reading or writing reports.
    pub async fn call(&self, table: &Table, asked: Asked) -> Result<Bytes, RequestError> {
        let function = self.node.function(&asked.function).await?;
        let wanted = asked.kind.unwrap_or(match function.kind {
            FunctionKind::Reduce => FunctionKind::Read,
            kind => kind,
        });
        if function.kind != wanted {
            return Err(RequestError::WrongFunctionKind {
                name: function.name.clone(),
                kind: function.kind,
                needed: wanted,
            });
        }
        let input = asked.keys.iter().chain(&asked.args).map(Bytes::len).sum::<usize>();
        if input > FUNCTION_INPUT_BYTES_MAX {
            let reason = format!(
                "keys and arguments have {input} bytes together; at most \
                 {FUNCTION_INPUT_BYTES_MAX} are allowed"
            );
            return Err(RequestError::InvalidArgument { argument: "args", reason });
        }
        if let Some(long) = asked.keys.iter().find(|key| key.len() > KEY_BYTES_MAX) {
            return Err(RequestError::KeyTooLong { bytes: long.len() });
        }
        let call = Call::new(&function, table, asked.keys, asked.args);
        let slot = call.slot().ok_or_else(|| RequestError::InvalidArgument {
            argument: "keys",
            reason: "a function is called on at least one key: it decides the shard".to_owned(),
        })?;
        if call.keys.iter().any(|key| breccia_ring::slot_of(table.options.partition, key) != slot) {
            return Err(RequestError::CrossSlot);
        }
        match wanted {
            FunctionKind::Write => self.write(&function, slot, call, asked.request_id).await,
            _ => self.node.ask(slot, SERVICE_ID, call.encode()).await,
        }
    }

    /// Reduces rows of a table by a reduce function, with an argument.
    ///
    /// # Errors
    /// [`RequestError::UnknownFunction`], [`RequestError::WrongFunctionKind`],
    /// [`RequestError::FunctionFailed`], or as [`Node::reduce`].
    pub async fn reduce(
        &self,
        table: &Table,
        (function, arg): (&str, Bytes),
        scope: &Scope,
        meter: &Arc<Meter>,
    ) -> Result<Reduction, RequestError> {
        let function = self.node.function(function).await?;
        let request = Request::new(&function, table, arg)?.encode();
        self.node.reduce_encoded(table, (REDUCTION_ID, request), scope, meter).await
    }
}

impl Functions {
    /// Puts a call into the log of its shard; the module before it, if the shard lacks that.
    async fn write(
        &self,
        function: &Function,
        slot: breccia_types::Slot,
        call: Call,
        request_id: Option<RequestId>,
    ) -> Result<Bytes, RequestError> {
        let (table, digest) = (call.table.id, function.digest);
        let call = command(&Write::Call(Box::new(call)), request_id);
        let outcomes = self.node.command(slot, vec![call.clone()]).await?;
        let mut outcome = outcomes.into_iter().next();
        if let Some(Err(Rejected::Missing { .. })) = outcome {
            let module = self.module_of(function).await?;
            let install = command(&Write::Install { digest, module }, None);
            outcome = self.node.command(slot, vec![install, call]).await?.into_iter().nth(1);
        }
        let internal = |reason: String| RequestError::Internal { reason };
        let reply = match outcome {
            Some(Ok(reply)) => Reply::decode(reply).map_err(|error| internal(error.to_string()))?,
            Some(Err(Rejected::TooMuch { .. } | Rejected::Missing { .. })) => {
                return Err(RequestError::Busy { shard: self.node.placement().shard_of(slot) });
            }
            Some(Err(rejected)) => return Err(internal(rejected.to_string())),
            None => return Err(internal("a call has no reply".to_owned())),
        };
        match reply {
            Reply::Returned(bytes) => Ok(bytes),
            Reply::Failed(reason) => {
                Err(RequestError::FunctionFailed { name: function.name.clone(), reason })
            }
            Reply::TableDropped => Err(RequestError::TableDropped { id: table }),
            Reply::Done => Err(internal("a call was answered like an installation".to_owned())),
        }
    }

    async fn module_of(&self, function: &Function) -> Result<Bytes, RequestError> {
        let (store, name, version) = (self.node.modules(), function.name.clone(), function.version);
        let module = blocking(move || store.read(&name, version)).await??;
        // The name may have been removed, and deployed anew from its first version on.
        match digest_of(&module) == function.digest {
            true => Ok(module),
            false => Err(RequestError::UnknownFunction { name: function.name.clone() }),
        }
    }

    /// Takes a module out of all shards that have it, in the background. Where that fails the
    /// module goes when others need its place.
    fn uninstall(&self, function: Arc<Function>) {
        let functions = self.clone();
        tokio::spawn(async move {
            let is_used = |other: &Arc<Function>| other.digest == function.digest;
            match functions.list().await {
                Ok(others) if !others.iter().any(is_used) => {}
                _ => return,
            }
            let uninstall = command(&Write::Uninstall { digest: function.digest }, None);
            for (shard, done) in functions.node.command_everywhere(&uninstall).await {
                if let Err(error) = done {
                    tracing::warn!(%shard, function = %function.name, %error, "keeps a module");
                }
            }
        });
    }
}

fn command(write: &Write, request_id: Option<RequestId>) -> Command {
    Command { service: SERVICE_ID, request_id, payload: write.encode() }
}

fn invalid(error: &FunctionError) -> RequestError {
    RequestError::InvalidModule { reason: error.to_string() }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, RequestError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| RequestError::Internal { reason: error.to_string() })
}
