//! The front ends of a node: each decodes its protocol into the request vocabulary of
//! `breccia-types`, asks the node, and encodes the answer.

pub mod http;
pub mod resp;

pub mod status;

use breccia_service::reduce::Reductions;

/// The reductions that the front ends need: every node of a cluster had better be opened with
/// them (`NodeConfig::reduce`).
#[must_use]
pub fn reductions() -> Reductions {
    let reductions = Reductions::default();
    #[cfg(feature = "sql")]
    let reductions = reductions.with::<breccia_sql::Stage>();
    reductions
}
