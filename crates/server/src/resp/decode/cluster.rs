//! CLUSTER.

use breccia_types::NodeClock;
use breccia_types::id::SLOT_COUNT;

use super::super::arguments::Arguments;
use super::super::command::{ClusterQuery, Command, Decoded, Fixed, Query, Visit};
use super::super::error::ReplyError;
use super::number::integer;
use super::{server, slots};

const fn cluster(query: ClusterQuery) -> Decoded {
    Ok(Command::Query(Query::Cluster(query)))
}

pub(crate) fn info(_: Arguments<'_>, _: &NodeClock) -> Decoded {
    cluster(ClusterQuery::Info)
}

pub(crate) fn myid(_: Arguments<'_>, _: &NodeClock) -> Decoded {
    cluster(ClusterQuery::MyId)
}

pub(crate) fn slots(_: Arguments<'_>, _: &NodeClock) -> Decoded {
    cluster(ClusterQuery::Slots)
}

pub(crate) fn shards(_: Arguments<'_>, _: &NodeClock) -> Decoded {
    cluster(ClusterQuery::Shards)
}

pub(crate) fn nodes(_: Arguments<'_>, _: &NodeClock) -> Decoded {
    cluster(ClusterQuery::Nodes)
}

pub(crate) fn replicas(_: Arguments<'_>, _: &NodeClock) -> Decoded {
    cluster(ClusterQuery::NoReplicas)
}

pub(crate) fn keyslot(arguments: Arguments<'_>, _: &NodeClock) -> Decoded {
    let slot = slots::of(arguments.get(2)).get();
    Ok(Command::Fixed(Fixed::Integer(i64::from(slot))))
}

pub(crate) fn countkeysinslot(arguments: Arguments<'_>, _: &NodeClock) -> Decoded {
    let slot = slot(arguments.get(2))?;
    Ok(Command::Visit(Visit::CountInSlot { slot }))
}

pub(crate) fn getkeysinslot(arguments: Arguments<'_>, _: &NodeClock) -> Decoded {
    let slot = slot(arguments.get(2))?;
    let most = integer(arguments.get(3))?;
    let most = usize::try_from(most).map_err(|_| ReplyError::SlotOrCount)?;
    Ok(Command::Visit(Visit::KeysInSlot { slot, most }))
}

fn slot(text: &[u8]) -> Result<u16, ReplyError> {
    let slot = integer(text)?;
    let slot = u16::try_from(slot).ok().filter(|slot| *slot < SLOT_COUNT);
    slot.ok_or(ReplyError::InvalidSlot)
}

pub(crate) fn help(_: Arguments<'_>, _: &NodeClock) -> Decoded {
    server::help_of("cluster")
}
