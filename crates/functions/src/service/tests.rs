//! What a shard does with modules, without a cluster around it.

use breccia_service::DroppedTables;
use breccia_store::{Engine, MemoryEngine, Transaction};
use breccia_types::ShardId;

use super::*;

/// A name that was removed and deployed anew begins again at its first version, so a module
/// could be taken for another one of the same name and version.
#[test]
fn a_module_under_a_digest_that_is_not_its_own_is_not_installed() {
    let engine = MemoryEngine::default();
    let shard = engine.open_shard(ShardId::new(0)).expect("a shard");
    let mut transaction = Transaction::new(shard.as_ref());
    let mut dropped = DroppedTables::default();
    let mut context =
        ServiceContext { transaction: &mut transaction, dropped: &mut dropped, fuel_used: &mut 0 };
    let service = FunctionService::new(Modules::new());
    let (module, other) = (Bytes::from_static(b"one"), Bytes::from_static(b"another"));
    let digest = digest_of(&module);
    let install = |module: Bytes| Write::Install { digest, module }.encode();
    let refused = service.write(&mut context, install(other));
    assert!(matches!(refused, Err(WriteError::Malformed { .. })), "{refused:?}");
    assert_eq!(installed::find(context.transaction, digest), Ok(None));
    assert!(service.write(&mut context, install(module.clone())).is_ok());
    assert_eq!(installed::find(context.transaction, digest), Ok(Some(module)));
}
