//! Keeps prices with their history: `cargo run -p breccia-client --example price_history --
//! 127.0.0.1:7400`, with the addresses of some nodes.

use anyhow::Result;
use breccia_client::{Client, Code, Command, Error, Partition, Table, TableOptions, Timestamp};
use futures::TryStreamExt;

/// 2026-01-01T00:00:00Z and 2026-06-01T00:00:00Z.
const JANUARY: Timestamp = Timestamp::from_micros(1_767_225_600_000_000);
const JUNE: Timestamp = Timestamp::from_micros(1_780_272_000_000_000);

#[tokio::main]
async fn main() -> Result<()> {
    let mut addresses: Vec<String> = std::env::args().skip(1).collect();
    if addresses.is_empty() {
        addresses.push("127.0.0.1:7400".to_owned());
    }
    let client = Client::connect(addresses).await?;
    let prices = open_or_create(&client).await?;

    // The stores of a product lie together, so their prices can change together.
    prices.put("shoe/berlin", "79.90").version(JANUARY).await?;
    let reduced =
        ["shoe/berlin", "shoe/hamburg"].map(|key| Command::put(key, "74.90").version(JUNE));
    prices.batch(reduced).await?;

    if let Some(row) = prices.get("shoe/berlin").as_of(JANUARY).await? {
        println!("in January: {}", String::from_utf8_lossy(&row.value));
    }
    let history = prices.history("shoe/berlin").await?;
    println!("{} prices in berlin", history.versions.len());

    let mut rows = prices.scan().prefix("shoe/").rows();
    while let Some(row) = rows.try_next().await? {
        let (key, price) = (String::from_utf8_lossy(&row.key), String::from_utf8_lossy(&row.value));
        println!("now: {key} {price}");
    }
    Ok(())
}

async fn open_or_create(client: &Client) -> Result<Table> {
    let options = TableOptions {
        kind: "versioned".parse()?,
        partition: Partition::Before(b'/'),
        ..TableOptions::default()
    };
    match client.create_table("prices", options).await {
        Err(Error::Refused { code: Code::TableExists, .. }) => Ok(client.table("prices").await?),
        created => Ok(created?),
    }
}
