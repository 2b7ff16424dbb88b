//! The functions that users have deployed, as the cluster agrees on them, and requests to
//! the services that run them.

use std::sync::{Arc, Weak};

use breccia_router::ShardRead;
use breccia_service::meta::{MetaRefusal, MetaReply, MetaWrite, read_module};
use breccia_types::function::check_function_name;
use breccia_types::limits::{FUNCTION_MODULE_BYTES_MAX, FUNCTIONS_MAX, REQUEST_DEADLINE_DEFAULT};
use breccia_types::{
    Command, Function, FunctionKind, FunctionLimits, ModuleDigest, Outcome, RequestError,
    ServiceId, ShardId, Slot,
};
use bytes::Bytes;
use futures::future::join_all;
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::meta::unexpected;
use crate::node::{Inner, Node};

/// A function that is to be deployed. Whoever deploys it has checked that its module is what
/// it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewFunction {
    /// Its name.
    pub name: String,
    /// What it does.
    pub kind: FunctionKind,
    /// What a call may use.
    pub limits: FunctionLimits,
    /// Names the module.
    pub digest: ModuleDigest,
    /// The module.
    pub module: Bytes,
}

impl Node {
    /// Deploys a function, as a further version if there is one of its name. The same module
    /// with the same limits is the same version.
    ///
    /// # Errors
    /// [`RequestError::InvalidArgument`], [`RequestError::InvalidModule`] if the module is too
    /// long, [`RequestError::TooManyFunctions`], or what writing reports.
    pub async fn deploy_function(&self, new: NewFunction) -> Result<Arc<Function>, RequestError> {
        check_function_name(&new.name)?;
        new.limits.check()?;
        if new.module.len() > FUNCTION_MODULE_BYTES_MAX {
            let reason = format!(
                "it has {} bytes, and at most {FUNCTION_MODULE_BYTES_MAX} are allowed: strip it, \
                 or build it for size",
                new.module.len()
            );
            return Err(RequestError::InvalidModule { reason });
        }
        let NewFunction { name, kind, limits, digest, module } = new;
        let write = MetaWrite::DeployFunction { name: name.clone(), kind, digest, limits, module };
        self.change_function(&name, &write).await
    }

    /// Forgets a function; returns what it was.
    ///
    /// # Errors
    /// [`RequestError::UnknownFunction`], or what writing reports.
    pub async fn remove_function(&self, name: &str) -> Result<Arc<Function>, RequestError> {
        let write = MetaWrite::RemoveFunction { name: name.to_owned() };
        self.change_function(name, &write).await
    }

    /// The function of this name. One that this node does not know may just have been deployed
    /// through another node: what the cluster has agreed on is then asked for.
    ///
    /// # Errors
    /// [`RequestError::UnknownFunction`], or what asking reports.
    pub async fn function(&self, name: &str) -> Result<Arc<Function>, RequestError> {
        if let Some(known) = self.known_function(name) {
            return Ok(known);
        }
        self.refresh().await?;
        let unknown = || RequestError::UnknownFunction { name: name.to_owned() };
        self.known_function(name).ok_or_else(unknown)
    }

    /// All functions, by name.
    ///
    /// # Errors
    /// What asking the cluster reports.
    pub async fn functions(&self) -> Result<Vec<Arc<Function>>, RequestError> {
        self.refresh().await?;
        Ok(self.known_functions())
    }

    /// The functions that this node knows of; it may be a moment behind.
    #[must_use]
    pub fn known_functions(&self) -> Vec<Arc<Function>> {
        let state = self.0.cluster.state();
        state.map(|state| state.functions.values().cloned().collect()).unwrap_or_default()
    }

    fn known_function(&self, name: &str) -> Option<Arc<Function>> {
        self.0.cluster.state()?.functions.get(name).cloned()
    }

    /// Where the modules of functions are read. Does not keep the node alive.
    #[must_use]
    pub fn modules(&self) -> ModuleStore {
        ModuleStore { node: Arc::downgrade(&self.0), runtime: Handle::current() }
    }

    /// Puts commands of a service into the log of a slot's shard, together and in this order.
    ///
    /// # Errors
    /// What writing reports.
    pub async fn command(
        &self,
        slot: Slot,
        commands: Vec<Command>,
    ) -> Result<Vec<Outcome>, RequestError> {
        self.write_shard(self.shard_of(slot), commands).await
    }

    /// Puts a command of a service into the log of every shard. One result per shard.
    pub async fn command_everywhere(
        &self,
        command: &Command,
    ) -> Vec<(ShardId, Result<Vec<Outcome>, RequestError>)> {
        let writing = self.all_shards().into_iter().map(|shard| {
            let writing = self.write_shard(shard, vec![command.clone()]);
            async move { (shard, writing.await) }
        });
        join_all(writing).await
    }

    /// Asks a service about the rows of a slot's shard, as this node reads.
    ///
    /// # Errors
    /// What reading reports.
    pub async fn ask(
        &self,
        slot: Slot,
        service: ServiceId,
        request: Bytes,
    ) -> Result<Bytes, RequestError> {
        let shard = self.shard_of(slot);
        self.check_in_service(shard)?;
        let read = ShardRead { service, request, consistency: self.1 };
        self.0.router.read(shard, read, Instant::now() + REQUEST_DEADLINE_DEFAULT).await
    }

    async fn change_function(
        &self,
        name: &str,
        write: &MetaWrite,
    ) -> Result<Arc<Function>, RequestError> {
        if self.0.health.is_closing() {
            return Err(RequestError::ShuttingDown);
        }
        match self.0.meta.change(write).await? {
            MetaReply::Function { function } => Ok(Arc::new(function)),
            MetaReply::Refused { refusal: MetaRefusal::UnknownFunction } => {
                Err(RequestError::UnknownFunction { name: name.to_owned() })
            }
            MetaReply::Refused { refusal: MetaRefusal::TooManyFunctions } => {
                Err(RequestError::TooManyFunctions { max: FUNCTIONS_MAX })
            }
            other => Err(unexpected(&other)),
        }
    }
}

/// Reads the modules of functions from what this node holds of the meta shard.
#[derive(Clone)]
pub struct ModuleStore {
    /// The node's own services hold this.
    node: Weak<Inner>,
    runtime: Handle,
}

impl ModuleStore {
    /// The module of a function's version. Waits until this node knows of it, which a runtime
    /// of one thread cannot.
    ///
    /// # Errors
    /// [`RequestError::UnknownFunction`] if the version is not kept any more, or what reading
    /// reports.
    pub fn read(&self, name: &str, version: u64) -> Result<Bytes, RequestError> {
        let node = self.node.upgrade().ok_or(RequestError::ShuttingDown)?;
        if let Some(module) = find(&node, name, version)? {
            return Ok(module);
        }
        tokio::task::block_in_place(|| self.runtime.block_on(node.meta.refresh()))?;
        let gone = || RequestError::UnknownFunction { name: format!("{name}, version {version}") };
        find(&node, name, version)?.ok_or_else(gone)
    }
}

fn find(node: &Inner, name: &str, version: u64) -> Result<Option<Bytes>, RequestError> {
    let unavailable = || RequestError::ShardUnavailable {
        shard: ShardId::META,
        reason: "this node does not hold it".to_owned(),
    };
    let meta = node.shards.load().get(&ShardId::META).cloned().ok_or_else(unavailable)?;
    let engine = meta.data.engine();
    read_module(engine.as_ref(), name, version).map_err(|error| meta.on_read_error(&error))
}
