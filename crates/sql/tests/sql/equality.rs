//! The same queries over a sharded table and over the same rows in DataFusion's memory table
//! have the same answers.
use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use datafusion::prelude::SessionContext;
use serde_json::Value;

use crate::support::{
    batches, carrier_options, carriers, filled, flight_options, flights, node, shown, sql,
};

/// One query per line; those between `--` and the next `--` are about one thing.
const QUERIES: &str = include_str!("queries.sql");
const ROWS: usize = 3_000;

fn texts(rows: &[(String, Value)], name: &str) -> ArrayRef {
    let text = |value: &Value| match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    };
    Arc::new(StringArray::from_iter(rows.iter().map(|(_, value)| text(&value[name]))))
}

fn key_and_value(rows: &[(String, Value)]) -> (ArrayRef, ArrayRef) {
    let keys = StringArray::from_iter_values(rows.iter().map(|(key, _)| key));
    let values = StringArray::from_iter_values(rows.iter().map(|(_, value)| value.to_string()));
    (Arc::new(keys), Arc::new(values))
}

fn reference(flights: &[(String, Value)], carriers: &[(String, Value)]) -> SessionContext {
    let integers = |name: &str| -> ArrayRef {
        Arc::new(Int64Array::from_iter(flights.iter().map(|(_, value)| value[name].as_i64())))
    };
    let (key, value) = key_and_value(flights);
    let time = flights.iter().map(|(_, value)| {
        let time: jiff::Timestamp = value["time"].as_str().unwrap().parse().unwrap();
        time.as_microsecond()
    });
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("_key", key, false),
        ("carrier", texts(flights, "carrier"), true),
        ("flight", integers("flight"), true),
        ("origin", texts(flights, "origin"), true),
        ("delay", integers("delay"), true),
        (
            "distance",
            Arc::new(Float64Array::from_iter(flights.iter().map(|(_, v)| v["distance"].as_f64()))),
            true,
        ),
        (
            "is_late",
            Arc::new(BooleanArray::from_iter(flights.iter().map(|(_, v)| v["is_late"].as_bool()))),
            true,
        ),
        ("time", Arc::new(TimestampMicrosecondArray::from_iter_values(time)), true),
        ("tail", texts(flights, "tail"), true),
        ("crew", texts(flights, "crew"), true),
        ("_value", value, false),
    ]);
    let context = SessionContext::new();
    context.register_batch("flights", batch.unwrap()).unwrap();
    let (key, value) = key_and_value(carriers);
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("_key", key, false),
        ("code", texts(carriers, "code"), true),
        ("name", texts(carriers, "name"), true),
        ("_value", value, false),
    ]);
    context.register_batch("carriers", batch.unwrap()).unwrap();
    context
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_query_has_the_answer_that_datafusion_gives_over_the_same_rows() {
    let node = node().await;
    let (flights, carriers) = (flights(ROWS), carriers());
    filled(&node, "flights", flight_options(), &flights).await;
    filled(&node, "carriers", carrier_options(), &carriers).await;
    let (sql, reference) = (sql(&node), reference(&flights, &carriers));
    let queries = QUERIES.lines().filter(|line| !line.is_empty() && !line.starts_with("--"));
    let mut count = 0;
    for query in queries {
        let expected = reference.sql(query).await.expect(query).collect().await.expect(query);
        let answer = batches(&sql, query).await.unwrap_or_else(|error| panic!("{query}: {error}"));
        assert_eq!(shown(&answer), shown(&expected), "{query}");
        count += 1;
    }
    assert!(count >= 60, "{count} queries");
}
