//! Rows that are written while a cluster changes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use breccia_node::Node;
use breccia_types::{Actor, NodeId, Table};
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use tokio::task::JoinHandle;

/// Writes new rows all the time, and knows which were acknowledged.
pub(crate) struct Flood {
    nodes: Arc<RwLock<Vec<Node>>>,
    stop: Arc<AtomicBool>,
    acknowledged: Arc<Mutex<BTreeSet<Bytes>>>,
    writers: Vec<JoinHandle<()>>,
}

impl Flood {
    pub(crate) fn start(table: &Table, nodes: &[Node]) -> Self {
        let (nodes, stop) = (Arc::new(RwLock::new(nodes.to_vec())), Arc::default());
        let mut flood = Self { nodes, stop, acknowledged: Arc::default(), writers: Vec::new() };
        for writer in 0..4 {
            let (nodes, stop) = (Arc::clone(&flood.nodes), Arc::clone(&flood.stop));
            let (acknowledged, table) = (Arc::clone(&flood.acknowledged), table.clone());
            flood.writers.push(tokio::spawn(async move {
                for number in 0.. {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    let node = {
                        let nodes = nodes.read();
                        nodes[number % nodes.len()].clone()
                    };
                    let key = Bytes::from(format!("flood-{writer}-{number:06}"));
                    let put = table.put(key.clone(), vec![b'x'; 2_000].into());
                    match node.write(&table, put, None).await {
                        Ok(_) => drop(acknowledged.lock().insert(key)),
                        Err(error) => assert_eq!(error.actor(), Actor::Retry, "{error}"),
                    }
                }
            }));
        }
        flood
    }

    pub(crate) fn leave(&self, node: NodeId) {
        self.nodes.write().retain(|entrance| entrance.id() != node);
    }

    pub(crate) fn enter_by(&self, node: &Node) {
        self.nodes.write().push(node.clone());
    }

    pub(crate) fn acknowledged(&self) -> usize {
        self.acknowledged.lock().len()
    }

    pub(crate) async fn end(self) -> BTreeSet<Bytes> {
        self.stop.store(true, Ordering::SeqCst);
        for writer in self.writers {
            writer.await.expect("a writer was refused for good");
        }
        std::mem::take(&mut *self.acknowledged.lock())
    }
}
