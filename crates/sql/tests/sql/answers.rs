//! What queries see, what they refuse, and what they say of it.
use std::sync::Arc;

use breccia_functions::{Functions, Modules};
use breccia_node::Node;
use breccia_sql::{Asked, Limits, Sql, SqlError};
use breccia_types::reduce::Misfits;
use breccia_types::{ColumnType, FunctionLimits, RequestError, TableOptions, Timestamp};
use bytes::Bytes;
use datafusion::arrow::array::AsArray;
use futures::TryStreamExt;
use serde_json::json;

use crate::support::{
    batches, column, filled, flight_options, flights, node, node_with, put, rows, sql, sql_with,
    table,
};

async fn with_flights(count: usize) -> Node {
    let node = node().await;
    filled(&node, "flights", flight_options(), &flights(count)).await;
    node
}

async fn refusal(node: &Node, text: &str) -> SqlError {
    match batches(&sql(node), text).await {
        Ok(batches) => panic!("{text}: {batches:?}"),
        Err(error) => error,
    }
}

/// DataFusion's own rules leave out the second key here.
#[tokio::test]
async fn rows_of_a_join_are_sorted_by_every_key() {
    let node = with_flights(100).await;
    let query = "select x, y from (select distinct origin as x from flights) a cross join \
                 (select distinct origin as y from flights) b order by x, y";
    let found = rows(&sql(&node), query).await;
    let origins = ["EWR", "JFK", "LGA"];
    let expected: Vec<_> = origins
        .iter()
        .flat_map(|x| origins.iter().map(move |y| json!({ "x": x, "y": y })))
        .collect();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn the_same_query_twice_has_the_same_answer() {
    let node = with_flights(500).await;
    let sql = sql(&node);
    let query = "select _key, delay from flights order by delay desc nulls last limit 3";
    let first = rows(&sql, query).await;
    assert_eq!(first.len(), 3);
    for _ in 0..3 {
        let again = rows(&sql, query).await;
        let delays = |rows: &[serde_json::Value]| {
            rows.iter().map(|row| row["delay"].as_i64()).collect::<Vec<_>>()
        };
        assert_eq!(delays(&again), delays(&first));
    }
}

#[tokio::test]
async fn a_query_that_cannot_be_planned_is_refused_with_the_place() {
    let node = with_flights(1).await;
    for (query, word, has_place) in [
        ("selec 1", "Line: 1, Column: 1", false),
        ("select count(* from flights", "Column: 16", false),
        ("select nothing from flights", "nothing", true),
        ("select\n  carrier + interval '1 day' from flights", "", false),
        ("select no_such(delay) from flights", "no_such", false),
        ("select count(*) from fligths", "fligths", false),
        ("select 1; select 2", "single SQL statement", false),
        ("", "No SQL statements", false),
    ] {
        let error = refusal(&node, query).await;
        let text = error.to_string();
        assert!(text.contains(word), "{query}: {text}");
        let SqlError::Invalid { line, .. } = error else { panic!("{query}: {error:?}") };
        assert!(line.is_some() || !has_place, "{query}: {text}");
    }
}

#[tokio::test]
async fn nothing_but_reading_is_allowed() {
    let node = with_flights(1).await;
    for query in [
        "create table t (a int)",
        "create external table t stored as csv location '/etc/passwd'",
        "insert into flights values (1)",
        "delete from flights",
        "drop table flights",
        "copy flights to '/tmp/x.csv'",
        "set datafusion.execution.batch_size = 1",
        "create view v as select 1",
        "select * from '/etc/passwd'",
    ] {
        let error = refusal(&node, query).await;
        assert!(matches!(error, SqlError::Invalid { .. }), "{query}: {error:?}");
    }
    assert_eq!(rows(&sql(&node), "select count(*) as n from flights").await, [json!({ "n": 1 })]);
}

#[tokio::test]
async fn a_failing_row_fails_the_query_and_the_node_goes_on() {
    let node = with_flights(200).await;
    for query in [
        "select 1 / (flight - 7) from flights",
        "select sum(9223372036854775807 - flight) from flights",
        "select origin, sum(-9223372036854775807) from flights group by origin",
        "select cast(origin as int) from flights",
    ] {
        let error = refusal(&node, query).await;
        assert!(matches!(error, SqlError::Failed { .. }), "{query}: {error:?}");
    }
    assert_eq!(rows(&sql(&node), "select count(*) as n from flights").await, [json!({ "n": 200 })]);
}

/// Some shards' parts have no room in 64 bits, and the whole has.
#[tokio::test]
async fn a_sum_may_leave_64_bits_on_its_way_but_not_at_its_end() {
    let node = node().await;
    let columns = vec![column("a", ColumnType::Integer)];
    let options = TableOptions { columns, ..TableOptions::default() };
    let t = table(&node, "t", options).await;
    for row in 0..20 {
        let value = if row < 10 { i64::MAX } else { -i64::MAX };
        put(&node, &t, &row.to_string(), json!({ "a": value }).to_string()).await;
    }
    let sql = sql(&node);
    assert_eq!(rows(&sql, "select sum(a) as s from t").await, [json!({ "s": 0 })]);
    let by_sign = "select a > 0 as p, sum(a) from t group by p";
    assert!(
        matches!(refusal(&node, by_sign).await, SqlError::Failed { reason } if reason.contains("64 bits"))
    );
    let wide =
        "select a > 0 as p, sum(cast(a as decimal(38, 0))) as s from t group by p order by p";
    let sums = batches(&sql, wide).await.expect("sums");
    assert!(crate::support::shown(&sums).contains("92233720368547758070"));
}

#[tokio::test]
async fn rows_that_are_not_as_declared_are_counted_or_refused_but_only_where_it_matters() {
    let node = node().await;
    let columns = vec![column("a", ColumnType::Integer), column("b", ColumnType::Text)];
    let options = TableOptions { columns, ..TableOptions::default() };
    let t = table(&node, "t", options).await;
    for (key, value) in [
        ("1", r#"{"a": 1, "b": "x"}"#),
        ("2", r#"{"a": 2}"#),
        ("3", r#"{"a": "three", "b": "y"}"#),
        ("4", "no JSON"),
        ("5", r#"{"a": 5.5}"#),
        ("6", r#"{"b": "z", "more": [1, {"a": 0}]}"#),
        ("7", r#"{"a": 10, "a": 70}"#),
    ] {
        put(&node, &t, key, value).await;
    }
    let sql = sql(&node);
    let sum = "select count(*) as n, sum(a) as s from t where a is not null or true";
    let answer = sql.query(sum, &Asked::default(), &Arc::default()).await.unwrap();
    let _: Vec<_> = answer.batches.try_collect().await.unwrap();
    let read = answer.report.coverage().read;
    assert_eq!((read.rows, read.skipped), (7, 3));
    assert_eq!(rows(&sql, "select sum(a) as s from t").await, [json!({ "s": 73 })]);
    // No column that could be wrong is looked at.
    assert_eq!(rows(&sql, "select count(*) as n from t").await, [json!({ "n": 7 })]);
    let strict = Asked { misfits: Misfits::Refuse, ..Asked::default() };
    let answer = sql.query("select sum(a) from t", &strict, &Arc::default()).await.unwrap();
    let refused = answer.batches.try_collect::<Vec<_>>().await;
    assert!(
        matches!(refused, Err(SqlError::Request(RequestError::UnfitRow { .. }))),
        "{refused:?}"
    );
}

#[tokio::test]
async fn what_is_not_declared_is_read_by_path() {
    let node = node().await;
    let t = table(&node, "t", TableOptions::default()).await;
    put(&node, &t, "1", r#"{"a": {"b": [7, "x"]}, "t": true, "f": 2.5, "n": null}"#).await;
    put(&node, &t, "2", r#"{"a": 1}"#).await;
    let query = "select _key, json_int(_value, 'a.b.0') as i, json_text(_value, '/a/b/1') as t, \
                 json_bool(_value, 't') as b, json_float(_value, 'f') as f, \
                 json_text(_value, 'n') as n from t order by _key";
    let without = "select * exclude (_value) from t where _key = '1'";
    assert_eq!(rows(&sql(&node), without).await, [json!({ "_key": "1" })]);
    let expected = [
        json!({ "_key": "1", "i": 7, "t": "x", "b": true, "f": 2.5, "n": null }),
        json!({ "_key": "2", "i": null, "t": null, "b": null, "f": null, "n": null }),
    ];
    assert_eq!(rows(&sql(&node), query).await, expected);
}

#[tokio::test]
async fn versioned_tables_show_their_latest_versions_and_monoid_tables_what_people_see() {
    let node = node().await;
    let kind = |kind: &str| TableOptions { kind: kind.parse().unwrap(), ..TableOptions::default() };
    let prices = table(&node, "prices", kind("versioned")).await;
    for (micros, value) in [(2_000_000, "2"), (1_000_000, "1")] {
        let put = prices.put(Bytes::from_static(b"p"), Bytes::from(value));
        let put = put.at_version(Timestamp::from_micros(micros));
        node.write(&prices, put, None).await.unwrap();
    }
    let counts = table(&node, "counts", kind("monoid:sum:i64")).await;
    for operand in ["1", "41"] {
        let monoid: breccia_monoid::Monoid = "sum:i64".parse().unwrap();
        let state = monoid.parse_operand(operand.as_bytes()).unwrap();
        node.write(&counts, counts.merge(Bytes::from_static(b"c"), state.into()), None)
            .await
            .unwrap();
    }
    let sql = sql(&node);
    let price = json!({ "_key": "p", "_version": "1970-01-01T00:00:02", "_value": "2" });
    assert_eq!(rows(&sql, "select * from prices").await, [price]);
    let count = json!({ "_key": "c", "_value": "42" });
    assert_eq!(rows(&sql, "select * from counts").await, [count]);
}

#[tokio::test]
async fn explain_says_what_runs_where_and_analyze_what_it_took() {
    let node = with_flights(300).await;
    let sql = sql(&node);
    let query = "select carrier, sum(delay) from flights where _key like 'UA/%' group by carrier";
    let plan = rows(&sql, &format!("explain {query}")).await;
    let text = |row: usize| plan[row]["plan"].as_str().unwrap().to_owned();
    assert_eq!(plan.len(), 2, "{plan:?}");
    assert!(text(0).contains("mode=Final") && text(0).contains("Gather: stage=0"), "{}", text(0));
    assert!(text(1).contains("mode=Partial"), "{}", text(1));
    assert!(text(1).contains("columns=[_key, carrier, delay], prefix=UA/"), "{}", text(1));
    let plan = rows(&sql, &format!("explain analyze {query}")).await;
    let stage = plan[1]["plan"].as_str().unwrap();
    assert!(stage.contains("in 8 shards; ") && stage.contains(" bytes came back"), "{stage}");
}

#[tokio::test]
async fn conditions_on_the_key_bound_what_is_read() {
    let node = with_flights(500).await;
    let sql = sql(&node);
    for (query, most) in [
        ("select * from flights where _key = 'UA/00000'", 1),
        ("select count(*) from flights where _key like 'UA/000%'", 100),
        ("select _key from flights limit 1", 8),
    ] {
        let answer = sql.query(query, &Asked::default(), &Arc::default()).await.unwrap();
        let _: Vec<_> = answer.batches.try_collect().await.unwrap();
        let coverage = answer.report.coverage();
        assert!(coverage.read.rows <= most, "{query}: {coverage:?}");
        assert_eq!(coverage.shards_asked, if most == 1 { 1 } else { 8 }, "{query}");
    }
    let options = TableOptions { partition: "before:/".parse().unwrap(), ..flight_options() };
    filled(&node, "grouped", options, &flights(100)).await;
    let query = "select count(*) as n from grouped where _key like 'UA/%'";
    let answer = sql.query(query, &Asked::default(), &Arc::default()).await.unwrap();
    let _: Vec<_> = answer.batches.try_collect().await.unwrap();
    assert_eq!(answer.report.coverage().shards_asked, 1);
    let all = rows(
        &sql,
        "select count(*) as n from flights where _key < 'UA/00100' and _key like 'UA/%'",
    )
    .await;
    assert_eq!(rows(&sql, query).await, all);
}

#[tokio::test]
async fn tables_and_columns_can_be_listed() {
    let node = with_flights(1).await;
    let query = "select table_name from information_schema.tables where table_schema = 'public' \
                 order by 1";
    let names = rows(&sql(&node), query).await;
    assert_eq!(names, [json!({ "table_name": "flights" }), json!({ "table_name": "redis" })]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_that_take_more_than_a_page_come_all_and_each_once() {
    let node = node().await;
    let t = table(&node, "t", TableOptions::default()).await;
    for row in 0..60 {
        // Together three times what a part of a reduction may have.
        put(&node, &t, &format!("{row:03}"), vec![b'a' + row % 26; 1 << 20]).await;
    }
    let (large, asked, meter) = (sql(&node), Asked::default(), Arc::default());
    let answer = large.query("select _key, _value from t", &asked, &meter).await.unwrap();
    let batches: Vec<_> = answer.batches.try_collect().await.unwrap();
    let mut keys: Vec<String> = Vec::new();
    for batch in &batches {
        let column = batch.column(0).as_string::<i32>();
        keys.extend(column.iter().flatten().map(str::to_owned));
    }
    keys.sort_unstable();
    assert_eq!(keys, (0..60).map(|row| format!("{row:03}")).collect::<Vec<_>>());
    let coverage = answer.report.coverage();
    assert_eq!((coverage.shards_asked, coverage.read.rows), (8, 60));
    let small = sql_with(&node, Limits { memory_bytes: 16 << 20, ..Limits::default() });
    let sorted =
        crate::support::batches(&small, "select _key, _value from t order by _value").await;
    assert!(matches!(sorted, Err(SqlError::OverLimit { .. })), "{sorted:?}");
    let lengths = "select sum(length(_value)) as bytes from t";
    assert_eq!(rows(&sql(&node), lengths).await, [json!({ "bytes": 60 << 20 })]);
}

/// A stack that overflows would end the process. The threads here have small ones.
#[tokio::test]
async fn the_deepest_queries_that_are_allowed_are_answered_and_deeper_ones_refused() {
    let node = with_flights(10).await;
    let sql = sql(&node);
    let many = |text: &str, count: usize, between: &str| vec![text; count].join(between);
    let nested = |count: usize| {
        let inner = "select * from (".repeat(count);
        format!("{inner}select count(*) as n from flights{}", ") as t".repeat(count))
    };
    let queries = |depth: usize, parts: usize| {
        [
            format!("select {} from flights", many("flight", depth, " + ")),
            format!("select count(*) from flights where {}", many("flight = 1", depth / 2, " or ")),
            format!(
                "select {}flight{} from flights",
                "(".repeat(depth - 10),
                ")".repeat(depth - 10)
            ),
            format!("select {} is_late from flights", many("not", depth - 10, " ")),
            format!(
                "select {}1{}",
                "case when 1 = 2 then 3 else ".repeat(depth / 2),
                " end".repeat(depth / 2)
            ),
            format!(
                "select {}flight{} from flights",
                "abs(".repeat(depth / 2),
                ")".repeat(depth / 2)
            ),
            many("select flight from flights", parts, " union all "),
            nested(parts - 1),
            format!(
                "select count(*) from flights as t {}",
                (0..parts)
                    .map(|n| format!("join flights as t{n} on t{n}._key = t._key "))
                    .collect::<String>()
            ),
        ]
    };
    for query in queries(400, 64) {
        let answered = crate::support::batches(&sql, &query).await;
        assert!(!matches!(answered, Err(SqlError::Request(_))), "{query:.60}: {answered:?}");
    }
    for query in queries(40_000, 4_000) {
        let refused = crate::support::batches(&sql, &query).await;
        assert!(
            matches!(refused, Err(SqlError::Invalid { .. } | SqlError::TooLong { .. })),
            "{query:.60}"
        );
    }
}

/// Counts rows per group by a function of a user's, and by SQL's own count.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reduce_function_is_an_aggregate_like_any_other() {
    const TOTAL: &str = include_str!("../../../../examples/functions/text/total.wat");
    let modules = Modules::new();
    let node = node_with(&modules).await;
    filled(&node, "flights", flight_options(), &flights(500)).await;
    let functions = Functions::new(node.clone(), modules);
    let sql = Sql::new(node.clone(), functions.clone(), Limits::default());
    let unknown = batches(&sql, "select total(distance) from flights").await;
    assert!(unknown.is_err(), "nothing is deployed yet");
    let limits = FunctionLimits::default();
    functions.deploy("total", limits, TOTAL.into()).await.expect("deploys");
    for group in ["carrier", "origin, carrier", "tail"] {
        let by_function = format!(
            "select {group}, cast(total(cast(distance as bigint)) as bigint) as sum from flights \
             where distance is not null group by {group} order by {group}"
        );
        let own = by_function.replace(
            "cast(total(cast(distance as bigint)) as bigint)",
            "sum(cast(distance as bigint))",
        );
        assert_eq!(rows(&sql, &by_function).await, rows(&sql, &own).await, "{group}");
    }
    let whole =
        rows(&sql, "select total(_key, cast(distance as bigint)) as sum from flights").await;
    let own =
        rows(&sql, "select cast(sum(cast(distance as bigint)) as varchar) as sum from flights")
            .await;
    assert_eq!(whole, own);
    assert_eq!(
        rows(&sql, "select total(distance) as sum from flights where false").await,
        [json!({"sum": null})]
    );
    for wrong in ["select total() from flights", "select total(distance, 1, 2) from flights"] {
        assert!(batches(&sql, wrong).await.is_err(), "{wrong}");
    }
    // Over windows too, which do not run at the shards.
    let window =
        rows(&sql, "select distinct total(cast(distance as bigint)) over () as sum from flights")
            .await;
    assert_eq!(window, own);
    // It runs at the shards.
    let plan = rows(&sql, "explain select total(distance) from flights").await;
    assert!(json!(plan).to_string().contains("total"), "{plan:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn versions_of_a_table_are_seen_as_of_an_instant_or_all_of_them() {
    let node = node().await;
    let options = TableOptions {
        kind: "versioned".parse().expect("a kind"),
        columns: vec![column("price", ColumnType::Integer)],
        ..TableOptions::default()
    };
    let prices = table(&node, "prices", options).await;
    // Every hour the price of each of ten products is one more; the last product goes at 3.
    for product in 0..10 {
        for hour in 0..4_i64 {
            let key = Bytes::from(format!("p{product}"));
            let version = Timestamp::from_micros(hour * 3_600_000_000);
            let write = if product == 9 && hour == 3 {
                prices.delete(key).at_version(version)
            } else {
                let value = json!({"price": product * 100 + hour}).to_string();
                prices.put(key, value.into()).at_version(version)
            };
            node.write(&prices, write, None).await.expect("writes");
        }
    }
    let sql = sql(&node);
    let one = async |text: &str| rows(&sql, text).await;
    assert_eq!(
        one("select count(*) as n, sum(price) as sum from prices").await,
        [json!({"n": 9, "sum": 3600 + 9 * 3})]
    );
    assert_eq!(
        one("select count(*) as n, sum(price) as sum from versions('prices')").await,
        [json!({"n": 39, "sum": 4 * 3600 + 9 * 6 + 3 * 900 + 3})]
    );
    for as_of in [
        "'1970-01-01T01:30:00Z'",
        "timestamp '1970-01-01 01:59:59'",
        "timestamp '1970-01-01 00:30:00' + interval '1 hour'",
    ] {
        let text = format!("select count(*) as n, max(price) as max from as_of('prices', {as_of})");
        assert_eq!(one(&text).await, [json!({"n": 10, "max": 901})], "{as_of}");
    }
    assert_eq!(
        one("select * from as_of('prices', '1960-01-01T00:00:00Z')").await,
        [json!(null); 0]
    );
    // Of one key, by its versions; and joined with the present.
    let history = one(
        "select _version, price from versions('prices') where _key = 'p9' order by _version desc",
    );
    let history: Vec<_> = history.await.into_iter().map(|row| row["price"].clone()).collect();
    assert_eq!(history, [902, 901, 900]);
    assert_eq!(
        one("select max(now.price - old.price) as rise from prices now
             join as_of('prices', '1970-01-01T00:00:00Z') old on now._key = old._key")
        .await,
        [json!({"rise": 3})]
    );
    for (wrong, why) in [
        ("select * from versions('nothing')", "not found"),
        ("select * from states('prices')", "needs a monoid table"),
        ("select * from as_of('prices')", "a table and an instant"),
        ("select * from as_of('prices', 'yesterday')", "takes an instant"),
    ] {
        let error = batches(&sql, wrong).await.expect_err("refused").to_string();
        assert!(error.contains(why), "{wrong}: {error}");
    }
    let _ = table(&node, "plain", TableOptions::default()).await;
    assert!(batches(&sql, "select * from versions('plain')").await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_do_not_tear_the_versions_of_a_row_apart() {
    let node = node().await;
    let options =
        TableOptions { kind: "versioned".parse().expect("a kind"), ..TableOptions::default() };
    let pages = table(&node, "pages", options).await;
    // A page is 4 MiB: a few versions.
    for key in 0..3 {
        for version in 0..5_i64 {
            let put = pages.put(Bytes::from(format!("k{key}")), Bytes::from(vec![b'x'; 1 << 20]));
            let put = put.at_version(Timestamp::from_micros(version));
            node.write(&pages, put, None).await.expect("writes");
        }
    }
    let found = rows(&sql(&node), "select _key, _version from versions('pages')").await;
    assert_eq!(found.len(), 15);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn states_of_a_monoid_table_are_merged_by_group_and_presented() {
    let node = node().await;
    let kind = |kind: &str| TableOptions {
        kind: format!("monoid:{kind}").parse().expect("a kind"),
        ..TableOptions::default()
    };
    let views = table(&node, "views", kind("sum:i64")).await;
    let visitors = table(&node, "visitors", kind("hll")).await;
    for (monoid, table) in [("sum:i64", &views), ("hll", &visitors)] {
        let monoid: breccia_monoid::Monoid = monoid.parse().expect("a monoid");
        for day in 0..10 {
            for page in ["home", "shop"] {
                let key = Bytes::from(format!("{page}/{day}"));
                // Half of a day's visitors were there the day before.
                for visitor in day * 5..day * 5 + 10 {
                    let operand = monoid.parse_operand(visitor.to_string().as_bytes());
                    let merge = table.merge(key.clone(), operand.expect("an operand").into());
                    node.write(table, merge, None).await.expect("writes");
                }
            }
        }
    }
    let sql = sql(&node);
    let by_page = "select split_part(_key, '/', 1) as page, present(merge(_state)) as views
        from states('views') group by page order by page";
    let sum: i64 = (0..10).flat_map(|day| day * 5..day * 5 + 10).sum();
    let expected = ["home", "shop"].map(|page| json!({"page": page, "views": sum.to_string()}));
    assert_eq!(rows(&sql, by_page).await, expected);
    let distinct = "select json_int(present(merge(_state)), 'estimate') as distinct
        from states('visitors') where _key like 'home/%'";
    let found = rows(&sql, distinct).await[0]["distinct"].as_i64().expect("a number");
    assert!((54..=56).contains(&found), "{found}");
    let none = rows(&sql, "select merge(_state) as s from states('views') where false").await;
    assert_eq!(none, [json!({"s": null})]);
    let plain = rows(&sql, "select * from views limit 1").await;
    assert!(plain[0].get("_state").is_none(), "{plain:?}");
}
