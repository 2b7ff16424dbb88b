//! Replicas agree.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::support::Cluster;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_replicas_apply_every_acknowledged_command_once_in_one_order() {
    let cluster = Arc::new(Cluster::with_voters(3).await);
    let leader = cluster.leader().await;
    let writers = (0..16).map(|writer| {
        let cluster = Arc::clone(&cluster);
        tokio::spawn(async move {
            let mut acknowledged = Vec::new();
            for number in 0..50 {
                let text = format!("{writer}-{number}");
                if cluster.propose(leader, &text).await.is_ok() {
                    acknowledged.push(text);
                }
            }
            acknowledged
        })
    });
    let mut acknowledged = Vec::new();
    for writer in futures::future::join_all(writers).await {
        acknowledged.extend(writer.expect("a writer"));
    }
    assert!(acknowledged.len() > 700, "{}", acknowledged.len());
    let applied = cluster.agree(&[1, 2, 3]).await;
    let distinct: BTreeSet<_> = applied.iter().collect();
    assert_eq!(distinct.len(), applied.len(), "something was applied twice");
    for text in &acknowledged {
        assert!(distinct.iter().any(|one| one[..] == *text.as_bytes()), "{text} is lost");
    }
    let stamps = cluster.content(2).stamps;
    assert!(stamps.windows(2).all(|pair| pair[0] < pair[1]), "stamps grow");
}
