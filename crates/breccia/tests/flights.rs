//! The sample data as a newcomer loads it: its published figures come out of it again.

#![allow(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests panic")]

mod harness;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use harness::Node;
use serde_json::{Value, json};

const KEY: &str = "{carrier}/{flight}/{origin}/{time_hour}/{sched_dep_time}";

/// What the figures are about, gathered from exported rows.
#[derive(Default)]
struct Figures {
    rows: usize,
    per_origin: BTreeMap<String, usize>,
    per_carrier: BTreeMap<String, usize>,
    from_jfk_by_b6: usize,
    distances: Vec<i64>,
    delays: Vec<i64>,
    longest_delay: (i64, String, i64),
    tail_numbers: BTreeSet<String>,
}

impl Figures {
    fn add(&mut self, flight: &Value) {
        let text = |name: &str| flight[name].as_str().map(str::to_owned);
        let (origin, carrier) =
            (text("origin").expect("origin"), text("carrier").expect("carrier"));
        self.rows += 1;
        self.from_jfk_by_b6 += usize::from(origin == "JFK" && carrier == "B6");
        *self.per_origin.entry(origin).or_default() += 1;
        *self.per_carrier.entry(carrier.clone()).or_default() += 1;
        self.distances.push(flight["distance"].as_i64().expect("distance"));
        self.tail_numbers.extend(text("tailnum"));
        if let Some(delay) = flight["dep_delay"].as_i64() {
            self.delays.push(delay);
            let number = flight["flight"].as_i64().expect("flight");
            self.longest_delay = self.longest_delay.clone().max((delay, carrier, number));
        }
    }

    /// The nearest-rank quantile of the delays, which are sorted.
    fn delay_at(&self, percent: usize) -> i64 {
        self.delays[(self.delays.len() * percent).div_ceil(100) - 1]
    }
}

#[test]
fn the_published_figures_of_the_flights_come_out_of_the_loaded_sample() {
    let dir = tempfile::tempdir().expect("dir");
    let node = Node::start_with(dir.path(), &["--fsync", "never"]);
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/flights.csv.zst");
    let sample = sample.to_str().expect("a path in UTF-8");
    let said = node.run(&["import", "flights", sample, "--key", KEY]).ok();
    assert!(said.contains("336776 rows"), "{said}");

    reductions_give_the_figures(&node);
    queries_give_the_figures(&node);
    let mut figures = Figures::default();
    for line in node.run(&["export", "flights"]).ok().lines() {
        let row: Value = serde_json::from_str(line).expect("a row a line");
        figures.add(&row["value"]);
    }
    figures.delays.sort_unstable();
    assert_eq!(figures.rows, 336_776);
    assert_eq!(figures.from_jfk_by_b6, 42_076);
    let origins = [("EWR", 120_835), ("JFK", 111_279), ("LGA", 104_662)];
    assert_eq!(figures.per_origin, origins.map(|(name, rows)| (name.to_owned(), rows)).into());
    for (carrier, rows) in [("UA", 58_665), ("B6", 54_635), ("EV", 54_173), ("DL", 48_110)] {
        assert_eq!(figures.per_carrier[carrier], rows, "{carrier}");
    }
    assert_eq!(figures.per_carrier.len(), 16);
    assert_eq!(figures.distances.iter().sum::<i64>(), 350_217_607);
    assert_eq!(figures.distances.iter().min(), Some(&17));
    assert_eq!(figures.distances.iter().max(), Some(&4_983));
    assert_eq!(figures.delays.len(), 328_521);
    assert_eq!(figures.delays.iter().sum::<i64>(), 4_152_200);
    assert_eq!(figures.longest_delay, (1_301, "HA".to_owned(), 51));
    assert_eq!(figures.tail_numbers.len(), 4_043);
    assert_eq!([50, 90, 99].map(|percent| figures.delay_at(percent)), [-2, 49, 191]);
}

/// The same figures by one command each.
fn reductions_give_the_figures(node: &Node) {
    let reduce = |args: &[&str]| {
        let said = node.run(&[&["reduce", "flights"], args].concat());
        assert!(said.err.contains("rows"), "{}", said.err);
        said.ok().trim_end().to_owned()
    };
    assert_eq!(reduce(&["count"]), "336776");
    assert_eq!(reduce(&["count", "--prefix", "UA/"]), "58665");
    assert_eq!(reduce(&["sum:i64", "--field", "distance"]), "350217607");
    assert_eq!(reduce(&["min:i64", "--field", "distance"]), "17");
    assert_eq!(reduce(&["max:i64", "--field", "distance"]), "4983");
    assert_eq!(reduce(&["sum:f64", "--field", "dep_delay"]), "4152200.0");
    let longest = reduce(&["top:1", "--field", "dep_delay"]);
    assert!(longest.contains("1301.0") && longest.contains("HA/51/JFK"), "{longest}");

    let delays = node.run(&["reduce", "flights", "quantiles", "--field", "dep_delay", "--json"]);
    let delays: Value = serde_json::from_str(&delays.ok()).expect("JSON");
    assert_eq!(delays["result"]["count"], 328_521);
    assert_eq!(delays["coverage"]["skipped"], 336_776 - 328_521);
    for (name, exact) in [("p50", -2.0), ("p90", 49.0), ("p99", 191.0_f64)] {
        let found = delays["result"][name].as_f64().expect(name);
        let error = delays["result"]["relative_error"].as_f64().expect("an error");
        assert!((found - exact).abs() <= error * exact.abs() * 1.001, "{name} {found}");
    }
    let planes = node.run(&["reduce", "flights", "hll", "--field", "tailnum", "--json"]).ok();
    let planes: Value = serde_json::from_str(&planes).expect("JSON");
    let estimate = planes["result"]["estimate"].as_f64().expect("an estimate");
    assert!((estimate / 4_043.0 - 1.0).abs() < 0.05, "{estimate}");

    let strict = node.run(&["reduce", "flights", "sum:i64", "--field", "dep_delay", "--strict"]);
    assert_eq!(strict.code, 4, "{strict:?}");
    assert!(strict.err.contains("the field is null"), "{}", strict.err);
    assert_eq!(node.run(&["reduce", "flights", "sum:i64"]).code, 4);
    assert_eq!(node.run(&["reduce", "flights", "count", "--key", "--value"]).code, 2);
}

/// The same figures in SQL.
fn queries_give_the_figures(node: &Node) {
    let rows = |sql: &str| -> Vec<Value> {
        let said = node.run(&["sql", "--format", "ndjson", sql]);
        assert!(said.err.contains("came from the shards"), "{}", said.err);
        said.ok().lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    };
    let one = |sql: &str, expected: Value| assert_eq!(rows(sql), [expected], "{sql}");
    one("select count(*) as n from flights", json!({ "n": 336_776 }));
    let b6 = "select count(*) as n from flights where origin = 'JFK' and carrier = 'B6'";
    one(b6, json!({ "n": 42_076 }));
    let distances =
        "select sum(distance) as s, min(distance) as a, max(distance) as b from flights";
    one(distances, json!({ "s": 350_217_607, "a": 17, "b": 4_983 }));
    let delays = "select count(dep_delay) as n, sum(dep_delay) as s, round(avg(dep_delay), 3) as m \
                  from flights";
    one(delays, json!({ "n": 328_521, "s": 4_152_200, "m": 12.639 }));
    one("select count(distinct tailnum) as n from flights", json!({ "n": 4_043 }));
    let origins = "select origin, count(*) as n from flights group by origin order by origin";
    let expected = [("EWR", 120_835), ("JFK", 111_279), ("LGA", 104_662)];
    assert_eq!(rows(origins), expected.map(|(origin, n)| json!({ "origin": origin, "n": n })));
    let carriers =
        "select carrier, count(*) as n from flights group by carrier order by n desc limit 4";
    let expected = [("UA", 58_665), ("B6", 54_635), ("EV", 54_173), ("DL", 48_110)];
    assert_eq!(rows(carriers), expected.map(|(carrier, n)| json!({ "carrier": carrier, "n": n })));
    let longest =
        rows("select _key, dep_delay from flights order by dep_delay desc nulls last limit 5");
    assert_eq!((longest.len(), &longest[0]["dep_delay"]), (5, &json!(1_301)));
    assert!(longest[0]["_key"].as_str().is_some_and(|key| key.starts_with("HA/51/JFK/")));
    let quantiles = "select approx_percentile_cont(dep_delay, 0.5) as p50, \
                     approx_percentile_cont(dep_delay, 0.9) as p90 from flights";
    let found = &rows(quantiles)[0];
    assert!((found["p50"].as_f64().expect("p50") + 2.0).abs() <= 1.0, "{found}");
    assert!((found["p90"].as_f64().expect("p90") - 49.0).abs() <= 2.0, "{found}");
    assert_eq!(rows("select carrier, flight from flights").len(), 336_776);

    let by_carrier = "select carrier, count(*) as n from flights group by 1 order by 2";
    let shown = node.run(&["sql", by_carrier]).ok();
    let words: Vec<_> = shown.split_whitespace().take(4).collect();
    assert_eq!(words, ["carrier", "n", "OO", "32"], "{shown}");
    let csv = node.run(&["sql", "--format", "csv", "select 1 as a, 'x' as b"]).ok();
    assert_eq!(csv, "a,b\n1,x\n");
    let json = node.run(&["sql", "--json", "select max(distance) as d from flights"]).ok();
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(
        (&json["rows"][0]["d"], &json["coverage"]["rows"]),
        (&json!(4_983), &json!(336_776))
    );
    let wrong = node.run(&["sql", "select nothing from flights"]);
    assert_eq!(wrong.code, 4, "{wrong:?}");
    assert!(wrong.err.contains("column 8"), "{}", wrong.err);
}
