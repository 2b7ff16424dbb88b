//! Which layer serves which methods.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::{self, BoxFuture};
use thiserror::Error;

use crate::stream::Duplex;
use crate::transport::{Access, Handler, Method, Peer, Refusal};

/// Hands every message to the handler that its method is registered for.
#[derive(Default)]
pub struct MethodTable {
    /// By the first number of each range; ranges do not overlap.
    ranges: BTreeMap<u8, Range>,
}

struct Range {
    last: u8,
    access: Access,
    handler: Arc<dyn Handler>,
}

/// Two layers claim the same method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{method} is served already")]
pub struct MethodTaken {
    /// The lowest number of the range that was served already.
    pub method: Method,
}

impl MethodTable {
    /// A table that serves nothing.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets `handler` serve the methods of a range, for those whom `access` admits.
    ///
    /// # Errors
    /// [`MethodTaken`].
    pub fn serve(
        mut self,
        methods: RangeInclusive<u8>,
        access: Access,
        handler: Arc<dyn Handler>,
    ) -> Result<Self, MethodTaken> {
        let (first, last) = methods.into_inner();
        let below = self.ranges.range(..=last).next_back();
        if let Some((start, taken)) = below
            && taken.last >= first
        {
            return Err(MethodTaken { method: Method(*start) });
        }
        self.ranges.insert(first, Range { last, access, handler });
        Ok(self)
    }

    fn of(&self, method: Method) -> Option<&Range> {
        let (_, range) = self.ranges.range(..=method.0).next_back()?;
        (method.0 <= range.last).then_some(range)
    }
}

impl Handler for MethodTable {
    fn access(&self, method: Method) -> Access {
        self.of(method).map_or(Access::Nobody, |range| range.access)
    }

    fn on_call(
        &self,
        from: Peer,
        method: Method,
        body: Bytes,
    ) -> BoxFuture<'static, Result<Bytes, Refusal>> {
        match self.of(method) {
            Some(range) => range.handler.on_call(from, method, body),
            None => Box::pin(future::ready(Err(Refusal(Bytes::new())))),
        }
    }

    fn on_open(
        &self,
        from: Peer,
        method: Method,
        header: Bytes,
        duplex: Duplex,
    ) -> BoxFuture<'static, ()> {
        match self.of(method) {
            Some(range) => range.handler.on_open(from, method, header, duplex),
            None => Box::pin(future::ready(())),
        }
    }
}

impl fmt::Debug for MethodTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ranges = self.ranges.iter().map(|(first, range)| (first, (range.last, range.access)));
        f.debug_map().entries(ranges).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Echo;

    impl Handler for Echo {
        fn on_call(
            &self,
            _: Peer,
            _: Method,
            body: Bytes,
        ) -> BoxFuture<'static, Result<Bytes, Refusal>> {
            Box::pin(future::ready(Ok(body)))
        }

        fn on_open(&self, _: Peer, _: Method, _: Bytes, _: Duplex) -> BoxFuture<'static, ()> {
            Box::pin(future::ready(()))
        }
    }

    #[test]
    fn a_method_is_served_by_the_range_that_holds_it() {
        let table = MethodTable::new()
            .serve(16..=31, Access::Members, Arc::new(Echo))
            .and_then(|table| table.serve(1..=1, Access::Anyone, Arc::new(Echo)))
            .unwrap();
        for (method, access) in [
            (0, Access::Nobody),
            (1, Access::Anyone),
            (2, Access::Nobody),
            (16, Access::Members),
            (31, Access::Members),
            (32, Access::Nobody),
        ] {
            assert_eq!(table.access(Method(method)), access, "method {method}");
        }
    }

    #[test]
    fn a_method_is_served_once() {
        for (range, taken) in [(10..=20, None), (20..=30, Some(20)), (0..=25, Some(20))] {
            let table = MethodTable::new().serve(20..=22, Access::Members, Arc::new(Echo)).unwrap();
            let served = table.serve(range.clone(), Access::Members, Arc::new(Echo));
            let expected = if range.contains(&20) { Some(20) } else { taken };
            assert_eq!(served.err().map(|error| error.method.0), expected);
        }
    }
}
