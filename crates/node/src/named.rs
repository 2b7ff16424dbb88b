//! Requests on a table by its name.
//!
//! A node learns of a dropped table, and of another that has taken its name, a moment after
//! the cluster has agreed on it. What it asks of the dropped one in this moment is refused by
//! the shards, whether it reads or writes; the node then asks what is agreed on, and makes the
//! request once more.

use std::future::Future;
use std::sync::Arc;

use breccia_types::{RequestError, RequestId, Table};

use crate::node::Node;

/// A table as a request that names it is to use it.
#[derive(Debug, Clone)]
pub struct Named {
    /// The table.
    pub table: Arc<Table>,
    /// Whether the request was refused before because a table of the name is dropped.
    is_repeated: bool,
}

impl Named {
    /// The id of the request as the table's shards are to remember it. Under the one which
    /// the client gave they may remember that a dropped table refused it.
    #[must_use]
    pub fn request_id(&self, given: Option<RequestId>) -> Option<RequestId> {
        match self.is_repeated {
            true => given.map(|id| id.for_table(self.table.id)),
            false => given,
        }
    }
}

impl Node {
    /// Makes a request on the table of a name; a second time, if that table turns out to be
    /// dropped and another has its name. Nothing was written then by the first.
    ///
    /// # Errors
    /// [`RequestError::UnknownTable`] also if the table turns out to be dropped; or what
    /// looking it up or the request reports.
    pub async fn on_table<T, F>(
        &self,
        name: &str,
        request: impl Fn(Named) -> F,
    ) -> Result<T, RequestError>
    where
        F: Future<Output = Result<T, RequestError>>,
    {
        let table = self.table(name).await?;
        match request(Named { table, is_repeated: false }).await {
            Err(RequestError::TableDropped { .. }) => {}
            answer => return answer,
        }
        let table = self.table_now(name).await?;
        request(Named { table, is_repeated: true }).await
    }
}

#[cfg(test)]
mod tests {
    use breccia_types::TableOptions;
    use bytes::Bytes;

    use super::*;
    use crate::config::NodeConfig;

    const KEY: Bytes = Bytes::from_static(b"k");

    async fn made_again(node: &Node) {
        node.drop_table("t").await.expect("drops");
        node.create_table("t", TableOptions::default()).await.expect("creates");
    }

    #[tokio::test]
    async fn a_request_that_found_a_dropped_table_is_made_once_more_on_its_successor() {
        let node = Node::open(NodeConfig::in_memory()).await.expect("opens");
        let old = node.create_table("t", TableOptions::default()).await.expect("creates");
        let found = node.on_table("t", async |named: Named| {
            if named.table.id == old.id {
                made_again(&node).await;
                let new = node.table("t").await?;
                node.write(&new, new.put(KEY, KEY), None).await?;
            }
            node.get(&named.table, &KEY).await
        });
        assert!(found.await.expect("reads").is_some());
        let gone = node.on_table("t", async |named: Named| {
            node.drop_table("t").await?;
            node.get(&named.table, &KEY).await
        });
        let unknown = RequestError::UnknownTable { name: "t".to_owned() };
        assert_eq!(gone.await, Err(unknown));
    }

    #[tokio::test]
    async fn a_write_with_a_request_id_that_a_dropped_table_refused_is_applied_once_all_the_same() {
        let node = Node::open(NodeConfig::in_memory()).await.expect("opens");
        let old = node.create_table("t", TableOptions::default()).await.expect("creates");
        made_again(&node).await;
        let id = Some(RequestId::new(*b"0123456789abcdef"));
        let late = node.write(&old, old.put(KEY, KEY), id).await;
        assert_eq!(late, Err(RequestError::TableDropped { id: old.id }));
        let mut replies = Vec::new();
        for _ in 0..2 {
            let reply = node.on_table("t", async |named: Named| {
                let put = named.table.put(KEY, KEY);
                node.write(&named.table, put, named.request_id(id)).await
            });
            replies.push(reply.await.expect("writes"));
        }
        // They tell the instant of the write, which there was only one of.
        assert_eq!(replies.first(), replies.last());
    }
}
