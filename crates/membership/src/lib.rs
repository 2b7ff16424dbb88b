//! Who is alive and where: a static list, or gossip.
//!
//! Both answer with a [`View`] that changes under way, behind the [`Membership`] trait. The
//! view is one node's opinion. It may be late and two nodes may differ: what must be agreed
//! on (who holds what, who is allowed in) is in the meta shard, not here.

pub mod membership;
pub mod view;

pub mod gossip;
pub mod static_list;

mod table;

pub use gossip::{GossipConfig, GossipError, GossipMembership, GossipTiming};
pub use membership::Membership;
pub use static_list::{Link, StaticConfig, StaticMembership};
pub use view::{Incarnation, Load, MEMBERS_MAX, Member, MemberState, NodeInfo, View};
