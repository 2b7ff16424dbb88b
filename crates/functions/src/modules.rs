//! The modules that a node keeps compiled.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use breccia_node::{ModuleStore, Node};
use breccia_types::{ModuleDigest, RequestError};
use bytes::Bytes;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use crate::service::FunctionVersion;
use crate::{FunctionError, Module};

/// Modules that are kept compiled. The one that was not used for longest goes first.
const COMPILED_MAX: usize = 64;

/// The modules of a node: compiled once, and found again by their digests.
#[derive(Default)]
pub struct Modules {
    store: OnceLock<ModuleStore>,
    compiled: Mutex<Compiled>,
}

#[derive(Default)]
struct Compiled {
    modules: HashMap<ModuleDigest, Kept>,
    /// Counts uses.
    clock: u64,
}

struct Kept {
    module: Module,
    used: u64,
}

/// Names a module.
#[must_use]
pub(crate) fn digest_of(module: &[u8]) -> ModuleDigest {
    ModuleDigest::new(Sha256::digest(module).into())
}

impl Modules {
    /// None yet. The node that runs them is opened with services that hold this, so it is
    /// told of the node later: [`Modules::attach`].
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Lets modules be found in what this node holds of the meta shard. Counts once.
    pub fn attach(&self, node: &Node) {
        let _ = self.store.set(node.modules());
    }

    /// The module of a function's version, from what the cluster has agreed on. May wait for
    /// that: not to be called on a runtime thread.
    pub(crate) fn load(&self, function: &FunctionVersion) -> Result<Module, RequestError> {
        if let Some(known) = self.find(function.digest) {
            return Ok(known);
        }
        let opening = || RequestError::ShardUnavailable {
            shard: breccia_types::ShardId::META,
            reason: "this node has only begun to serve; try again".to_owned(),
        };
        let store = self.store.get().ok_or_else(opening)?;
        let stored = store.read(&function.name, function.version)?;
        if digest_of(&stored) != function.digest {
            let name = format!("{}, version {}", function.name, function.version);
            return Err(RequestError::UnknownFunction { name });
        }
        self.compiled(function.digest, &stored).map_err(|error| function.failed(&error))
    }

    /// The module of this digest, compiled now if it is not kept. Takes a core for a moment
    /// then: not to be called on a runtime thread.
    pub(crate) fn compiled(
        &self,
        digest: ModuleDigest,
        bytes: &Bytes,
    ) -> Result<Module, FunctionError> {
        if let Some(known) = self.find(digest) {
            return Ok(known);
        }
        // Two may do so at the same time; both come to the same.
        let module = Module::compile(bytes)?;
        let mut compiled = self.compiled.lock();
        compiled.clock += 1;
        let used = compiled.clock;
        compiled.modules.insert(digest, Kept { module: module.clone(), used });
        if compiled.modules.len() > COMPILED_MAX {
            let oldest = compiled.modules.iter().min_by_key(|(_, kept)| kept.used);
            if let Some(oldest) = oldest.map(|(digest, _)| *digest) {
                compiled.modules.remove(&oldest);
            }
        }
        Ok(module)
    }

    fn find(&self, digest: ModuleDigest) -> Option<Module> {
        let mut compiled = self.compiled.lock();
        compiled.clock += 1;
        let now = compiled.clock;
        let kept = compiled.modules.get_mut(&digest)?;
        kept.used = now;
        Some(kept.module.clone())
    }
}
