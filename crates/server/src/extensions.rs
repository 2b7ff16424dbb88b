//! What the front ends need of a node beyond what every node has.

use breccia_node::NodeConfig;
#[cfg(feature = "functions")]
use {breccia_functions::Modules, breccia_node::Node, std::sync::Arc};

/// What the front ends need of a node beyond what every node has: the stages of queries, and
/// the functions of users. Every node of a cluster had better be opened with it. Cheap to
/// clone; each node has its own.
#[derive(Clone, Default)]
pub struct Extensions {
    #[cfg(feature = "functions")]
    modules: Arc<Modules>,
}

impl std::fmt::Debug for Extensions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Extensions").finish_non_exhaustive()
    }
}

impl Extensions {
    /// With the modules that a node keeps compiled, for a program that calls functions itself.
    #[cfg(feature = "functions")]
    #[must_use]
    pub const fn with_modules(modules: Arc<Modules>) -> Self {
        Self { modules }
    }

    /// Adds what is needed to what a node is opened with.
    pub fn extend(&self, config: &mut NodeConfig) {
        #[cfg(feature = "functions")]
        {
            let service = breccia_functions::FunctionService::new(Arc::clone(&self.modules));
            config.services.push(Arc::new(service));
            let known = std::mem::take(&mut config.reduce.reductions);
            let modules = Arc::clone(&self.modules);
            config.reduce.reductions = breccia_functions::with_functions(known, modules);
        }
        #[cfg(feature = "sql")]
        {
            let known = std::mem::take(&mut config.reduce.reductions);
            config.reduce.reductions = breccia_sql::with_stages(known, Arc::clone(&self.modules));
        }
        #[cfg(not(feature = "functions"))]
        let _ = config;
    }

    /// The functions as front ends call them.
    #[cfg(feature = "functions")]
    pub(crate) fn functions(&self, node: Node) -> breccia_functions::Functions {
        breccia_functions::Functions::new(node, Arc::clone(&self.modules))
    }
}
