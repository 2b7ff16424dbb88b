//! Tables that are dropped, and others that take their names.

use breccia_types::{RequestError, TableOptions};

use crate::support::{Cluster, key, put};

/// A review found that a table could be made while the drop of its predecessor was still on
/// its way: a node that knew only the old one then acknowledged writes which were lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_made_during_the_drop_of_its_predecessor_leaves_none_that_takes_writes() {
    let cluster = Cluster::start(3).await;
    cluster.settled(3, 0).await;
    let [dropper, maker, other] = cluster.nodes.as_slice() else { panic!("three nodes") };
    let mut old = dropper.create_table("t", TableOptions::default()).await.expect("creates");
    for round in 0..20 {
        for row in 0..20 {
            put(other, &old, row).await;
        }
        let dropping = tokio::spawn({
            let dropper = dropper.clone();
            async move { dropper.drop_table("t").await }
        });
        let new = loop {
            match maker.create_table("t", TableOptions::default()).await {
                Err(RequestError::TableExists { .. }) => {}
                made => break made.expect("creates"),
            }
        };
        let dropped = RequestError::TableDropped { id: old.id };
        for row in 0..20 {
            let late = other.write(&old, old.put(key(row), key(row)), None).await;
            assert_eq!(late, Err(dropped.clone()), "round {round}");
            assert_eq!(other.get(&old, &key(row)).await, Err(dropped.clone()), "round {round}");
        }
        assert_eq!(other.count(&new).await, Ok(0));
        dropping.await.expect("ends").expect("drops");
        old = new;
    }
    cluster.shut_down().await;
}
