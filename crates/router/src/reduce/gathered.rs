//! What some shards have come to, and which they are.

use std::collections::BTreeSet;

use breccia_types::reduce::Part;
use breccia_types::{NodeId, ShardId};

/// What some shards come to together, and those that could not be reduced.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Gathered {
    pub(crate) part: Part,
    /// The shards that the part covers, each wholly and once.
    pub(crate) covered: BTreeSet<ShardId>,
    pub(crate) missed: Vec<Missed>,
}

/// A shard that a node could not reduce.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Missed {
    pub(crate) shard: ShardId,
    /// The node that could not, if it was asked at all.
    pub(crate) asked: Option<NodeId>,
    /// Who leads the shard, as that node knows.
    pub(crate) leader: Option<NodeId>,
    pub(crate) reason: String,
}

impl Gathered {
    /// What one shard came to.
    pub(crate) fn one(shard: ShardId, part: Part) -> Self {
        Self { part, covered: BTreeSet::from([shard]), missed: Vec::new() }
    }

    /// Nothing, for this reason.
    pub(crate) fn none(missed: Vec<Missed>) -> Self {
        Self { missed, ..Self::default() }
    }

    /// Whether it says of each of these shards, and of no other, what became of it, once.
    pub(crate) fn answers(&self, asked: impl IntoIterator<Item = ShardId>) -> bool {
        let asked: BTreeSet<ShardId> = asked.into_iter().collect();
        let missed: BTreeSet<ShardId> = self.missed.iter().map(|missed| missed.shard).collect();
        missed.len() == self.missed.len()
            && missed.is_disjoint(&self.covered)
            && missed.len() + self.covered.len() == asked.len()
            && missed.union(&self.covered).all(|shard| asked.contains(shard))
            && self.part.partial.is_some() != self.covered.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn missed(shard: u32) -> Missed {
        let (asked, leader) = (None, None);
        Missed { shard: ShardId::new(shard), asked, leader, reason: String::new() }
    }

    #[test]
    fn an_answer_speaks_of_every_shard_once_and_of_no_other() {
        let partial = Some(Bytes::from_static(b"p"));
        let part = Part { partial, ..Part::default() };
        for (covered, lost, asked, answers) in [
            (&[1, 2][..], &[3][..], &[1, 2, 3][..], true),
            (&[1, 2], &[], &[1, 2, 3], false),
            (&[1, 2], &[3], &[1, 2], false),
            (&[1, 2], &[2], &[1, 2], false),
            (&[1], &[2, 2], &[1, 2], false),
            (&[1, 4], &[], &[1, 2], false),
        ] {
            let gathered = Gathered {
                part: part.clone(),
                covered: covered.iter().copied().map(ShardId::new).collect(),
                missed: lost.iter().copied().map(missed).collect(),
            };
            let asked = asked.iter().copied().map(ShardId::new);
            assert_eq!(gathered.answers(asked), answers, "{gathered:?}");
        }
        let empty = Gathered::one(ShardId::new(1), Part::default());
        assert!(!empty.answers([ShardId::new(1)]), "a covered shard has a partial");
    }
}
