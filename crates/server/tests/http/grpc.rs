//! gRPC: one test per verb, and its errors.

use breccia_api::v1;
use breccia_api::v1::admin_client::AdminClient;
use breccia_api::v1::import_client::ImportClient;
use breccia_api::v1::import_response::Event;
use breccia_api::v1::key_value_client::KeyValueClient;
use breccia_api::v1::sql_client::SqlClient;
use breccia_api::v1::tables_client::TablesClient;
use breccia_api::v1::{command, merge_request, put_request, reduce_response};
use bytes::Bytes;
use futures::{StreamExt, stream};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::support::Running;

struct Clients {
    server: Running,
    rows: KeyValueClient<Channel>,
    tables: TablesClient<Channel>,
}

async fn start(table: &str, kind: &str) -> Clients {
    let server = Running::start().await;
    let channel = server.channel().await;
    let mut tables = TablesClient::new(channel.clone());
    let options = v1::TableOptions { kind: kind.into(), ..Default::default() };
    let create = v1::CreateTableRequest { name: table.into(), options: Some(options) };
    tables.create(create).await.expect("a table");
    Clients { server, rows: KeyValueClient::new(channel), tables }
}

fn put(table: &str, key: &'static str, value: &'static str) -> v1::PutRequest {
    v1::PutRequest {
        table: table.into(),
        key: key.into(),
        content: Some(put_request::Content::Value(value.into())),
        ..Default::default()
    }
}

fn get(table: &str, key: &'static str) -> v1::GetRequest {
    v1::GetRequest { table: table.into(), key: key.into(), as_of_micros: None }
}

fn metadata<'s>(status: &'s Status, name: &str) -> Option<&'s str> {
    status.metadata().get(name).and_then(|value| value.to_str().ok())
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_are_written_read_swapped_and_removed() {
    let mut clients = start("t", "plain").await;
    let rows = &mut clients.rows;
    rows.put(put("t", "a", "1")).await.expect("written");
    let row = rows.get(get("t", "a")).await.expect("read").into_inner().row.expect("a row");
    assert_eq!((&row.key[..], &row.value[..]), (&b"a"[..], &b"1"[..]));

    let swap = |expected: &'static str| v1::CompareAndSetRequest {
        table: "t".into(),
        key: "a".into(),
        expected: Some(expected.into()),
        new: Some("2".into()),
        ..Default::default()
    };
    let lost = rows.compare_and_set(swap("0")).await.expect("an answer").into_inner();
    assert_eq!((lost.swapped, lost.actual), (false, Some(Bytes::from("1"))));
    let won = rows.compare_and_set(swap("1")).await.expect("an answer").into_inner();
    assert!(won.swapped);

    let keys = v1::MultiGetRequest { table: "t".into(), keys: vec!["none".into(), "a".into()] };
    let entries = rows.multi_get(keys).await.expect("read").into_inner().entries;
    let found: Vec<_> = entries.into_iter().map(|entry| entry.row.map(|row| row.value)).collect();
    assert_eq!(found, [None, Some(Bytes::from("2"))]);

    let delete = v1::DeleteRequest { table: "t".into(), key: "a".into(), ..Default::default() };
    assert!(rows.delete(delete).await.expect("removed").into_inner().existed);
    assert_eq!(rows.get(get("t", "a")).await.expect("read").into_inner().row, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_with_the_same_request_id_merges_once() {
    let mut clients = start("m", "monoid:sum:f64").await;
    let merge = v1::MergeRequest {
        request_id: Bytes::from_static(b"0123456789abcdef"),
        table: "m".into(),
        key: "k".into(),
        content: Some(merge_request::Content::Operand("1.5".into())),
    };
    let first = clients.rows.merge(merge.clone()).await.expect("merged").into_inner();
    let retry = clients.rows.merge(merge.clone()).await.expect("merged").into_inner();
    assert_eq!(first, retry);
    let row = clients.rows.get(get("m", "k")).await.expect("read").into_inner().row;
    assert_eq!(row.and_then(|row| row.presented).as_deref(), Some("1.5"));

    let short = v1::MergeRequest { request_id: Bytes::from_static(b"0"), ..merge };
    let refused = clients.rows.merge(short).await.expect_err("refused");
    assert_eq!(refused.code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_have_a_code_a_name_and_say_who_must_act() {
    let mut clients = start("t", "plain").await;
    let unknown = clients.rows.get(get("none", "k")).await.expect_err("no table");
    assert_eq!(unknown.code(), Code::NotFound);
    assert_eq!(metadata(&unknown, "breccia-code"), Some("unknown-table"));
    assert_eq!(metadata(&unknown, "breccia-actor"), Some("fix"));
    assert!(unknown.message().contains("breccia table create none"));

    let missing = v1::PutRequest { table: "t".into(), key: "k".into(), ..Default::default() };
    let missing = clients.rows.put(missing).await.expect_err("no content");
    assert_eq!(metadata(&missing, "breccia-code"), Some("invalid-argument"));
    let exists = v1::CreateTableRequest { name: "t".into(), options: None };
    let exists = clients.tables.create(exists).await.expect_err("exists");
    assert_eq!(exists.code(), Code::AlreadyExists);

    clients.server.node.shutdown().await;
    let closing = clients.rows.put(put("t", "k", "1")).await.expect_err("closing");
    assert_eq!(closing.code(), Code::Unavailable);
    assert_eq!(metadata(&closing, "breccia-actor"), Some("retry"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_answers_each_command_by_its_kind() {
    let mut clients = start("t", "plain").await;
    let command = |command| v1::Command { command: Some(command) };
    let batch = v1::BatchRequest {
        table: "t".into(),
        commands: vec![
            command(command::Command::Put(command::Put {
                key: "k".into(),
                content: Some(command::put::Content::Value("1".into())),
                ..Default::default()
            })),
            command(command::Command::Delete(command::Delete {
                key: "k".into(),
                version_micros: None,
            })),
        ],
        ..Default::default()
    };
    let replies = clients.rows.batch(batch).await.expect("applied").into_inner().replies;
    use v1::command_reply::Reply;
    assert!(matches!(replies[0].reply, Some(Reply::Put(_))), "{replies:?}");
    assert_eq!(replies[1].reply, Some(Reply::Delete(v1::DeleteResponse { existed: true })));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_streams_pages_and_goes_on_behind_a_cursor() {
    let mut clients = start("t", "plain").await;
    let rows = &mut clients.rows;
    for key in ["a", "b", "c", "d", "e"] {
        rows.put(put("t", key, "1")).await.expect("written");
    }
    let scan = v1::ScanRequest { table: "t".into(), page_rows: 2, limit: 3, ..Default::default() };
    let pages = rows.scan(scan.clone()).await.expect("a scan").into_inner();
    let pages: Vec<v1::ScanPage> = pages.map(|page| page.expect("a page")).collect().await;
    assert_eq!(pages.iter().map(|page| page.rows.len()).collect::<Vec<_>>(), [2, 1]);

    let cursor = pages[1].cursor.clone();
    let rest = rows.scan(v1::ScanRequest { cursor, limit: 0, ..scan }).await.expect("a scan");
    let rest: Vec<v1::ScanPage> =
        rest.into_inner().map(|page| page.expect("a page")).collect().await;
    let keys: Vec<_> = rest.iter().flat_map(|page| &page.rows).map(|row| &row.key[..]).collect();
    assert_eq!(keys, [b"d", b"e"]);
    assert!(rest.last().expect("a page").cursor.is_empty());

    let range =
        v1::DeleteRangeRequest { table: "t".into(), from: "c".into(), ..Default::default() };
    rows.delete_range(range).await.expect("removed");
    let count = rows.count(v1::CountRequest { table: "t".into() }).await.expect("counted");
    assert_eq!(count.into_inner().rows, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_with_default_limits_can_scan_large_rows() {
    let mut clients = start("t", "plain").await;
    for key in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        let value = put_request::Content::Value(vec![7; 900_000].into());
        let put = v1::PutRequest { content: Some(value), ..put("t", key, "") };
        clients.rows.put(put).await.expect("written");
    }
    let scan = v1::ScanRequest { table: "t".into(), ..Default::default() };
    let pages = clients.rows.scan(scan).await.expect("a scan").into_inner();
    let pages: Vec<v1::ScanPage> = pages.map(|page| page.expect("a page")).collect().await;
    assert_eq!(pages.iter().map(|page| page.rows.len()).sum::<usize>(), 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn history_is_told_newest_first() {
    let mut clients = start("v", "versioned").await;
    for (version, value) in [(1, "one"), (2, "two")] {
        let put = v1::PutRequest { version_micros: Some(version), ..put("v", "k", value) };
        clients.rows.put(put).await.expect("written");
    }
    let history =
        v1::HistoryRequest { table: "v".into(), key: "k".into(), limit: 1, ..Default::default() };
    let page = clients.rows.history(history).await.expect("read").into_inner();
    assert_eq!(page.versions[0].value.as_deref(), Some(&b"two"[..]));
    assert_eq!(page.next_to_micros, Some(1));
    let past = v1::GetRequest { as_of_micros: Some(1), ..get("v", "k") };
    let row = clients.rows.get(past).await.expect("read").into_inner().row.expect("a row");
    assert_eq!(&row.value[..], b"one");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_counts_what_it_wrote_and_names_what_it_refused() {
    let mut clients = start("m", "monoid:sum:i64").await;
    let row = |value: &'static str| v1::ImportRow {
        key: "k".into(),
        content: Some(v1::import_row::Content::Value(value.into())),
        ..Default::default()
    };
    let messages = vec![
        v1::ImportRequest {
            table: "m".into(),
            mode: v1::ImportMode::Merge.into(),
            rows: vec![row("1"), row("x")],
        },
        v1::ImportRequest { rows: vec![row("2")], ..Default::default() },
    ];
    let mut importer = ImportClient::new(clients.server.channel().await);
    let events = importer.import(stream::iter(messages)).await.expect("an import").into_inner();
    let events: Vec<_> = events.map(|event| event.expect("an event").event).collect().await;
    let Some(Some(Event::Summary(summary))) = events.last() else { panic!("{events:?}") };
    assert_eq!((summary.rows_written, summary.rows_failed), (2, 1));
    assert_eq!((summary.failures[0].row, &summary.failures[0].code[..]), (1, "invalid-operand"));
    let row = clients.rows.get(get("m", "k")).await.expect("read").into_inner().row;
    assert_eq!(row.and_then(|row| row.presented).as_deref(), Some("3"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_at_the_deadline_its_client_set() {
    let clients = start("t", "plain").await;
    let first = v1::ImportRequest { table: "t".into(), ..Default::default() };
    let endless = stream::iter([first]).chain(stream::pending());
    let mut request = Request::new(endless);
    request.metadata_mut().insert("grpc-timeout", "300m".parse().expect("a value"));
    let mut importer = ImportClient::new(clients.server.channel().await);
    let mut events = importer.import(request).await.expect("an import").into_inner();
    let ended = events.message().await.expect_err("the deadline");
    assert_eq!(ended.code(), Code::DeadlineExceeded);
    assert_eq!(metadata(&ended, "breccia-code"), Some("deadline-exceeded"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_node_is_told_about_and_tables_are_listed() {
    let mut clients = start("t", "plain").await;
    let mut admin = AdminClient::new(clients.server.channel().await);
    let status = admin.status(v1::StatusRequest {}).await.expect("a status").into_inner();
    assert!(status.ready);
    let shards = admin.shards(v1::ShardsRequest {}).await.expect("shards").into_inner().shards;
    assert_eq!(shards.len(), status.shards.len() + 1);
    assert_eq!(shards[status.shards.len()].name, "meta");
    assert_eq!(shards[0].leader, status.id);
    let nodes = admin.nodes(v1::NodesRequest {}).await.expect("nodes").into_inner().nodes;
    assert_eq!(nodes[0].address, clients.server.address.to_string());
    let doctor = admin.doctor(v1::DoctorRequest {}).await.expect("findings").into_inner();
    assert!(doctor.findings.iter().all(|finding| !finding.what_to_do.is_empty()));

    let list = clients.tables.list(v1::ListTablesRequest {}).await.expect("tables").into_inner();
    let names: Vec<_> = list.tables.iter().map(|table| table.name.as_str()).collect();
    assert_eq!(names, ["redis", "t"]);
    let drop = v1::DropTableRequest { name: "t".into() };
    clients.tables.drop(drop).await.expect("dropped");
    let describe = v1::DescribeTableRequest { name: "t".into() };
    let gone = clients.tables.describe(describe).await.expect_err("gone");
    assert_eq!(gone.code(), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reduction_tells_its_progress_and_then_its_result() {
    let mut clients = start("t", "plain").await;
    for (key, value) in [("a", "{\"d\": [1, 7]}"), ("b", "{\"d\": [2, 8]}"), ("c", "{}")] {
        clients.rows.put(put("t", key, value)).await.expect("written");
    }
    let request = |strict| v1::ReduceRequest {
        table: "t".into(),
        reduction: "mean:i64".into(),
        input: Some(v1::reduce_request::Input::Field("d.1".into())),
        strict,
        ..Default::default()
    };
    let reply = clients.rows.reduce(request(false)).await.expect("an answer");
    let mut events: Vec<_> =
        reply.into_inner().map(|event| event.expect("an event")).collect().await;
    let Some(reduce_response::Event::Result(result)) = events.pop().and_then(|event| event.event)
    else {
        panic!("the last event is the result");
    };
    assert_eq!(result.presented, r#"{"mean":7.5,"count":2,"sum":15}"#);
    assert_eq!((result.rows, result.skipped), (3, 1));
    assert_eq!((result.shards_asked, result.missing.len()), (result.shards_answered, 0));
    for event in events {
        assert!(matches!(event.event, Some(reduce_response::Event::Progress(_))), "{event:?}");
    }

    let mut refused = clients.rows.reduce(request(true)).await.expect("a stream").into_inner();
    let status = loop {
        match refused.next().await.expect("an end") {
            Ok(event) => assert!(matches!(event.event, Some(reduce_response::Event::Progress(_)))),
            Err(status) => break status,
        }
    };
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert_eq!(metadata(&status, "breccia-code"), Some("unfit-row"));
    assert!(status.message().contains("\"c\""), "{}", status.message());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_gives_its_columns_then_rows_and_in_the_end_what_was_read() {
    use v1::query_response::Event;

    let mut clients = start("t", "plain").await;
    for (key, value) in [("a", "1"), ("b", "2")] {
        clients.rows.put(put("t", key, value)).await.expect("written");
    }
    let mut queries = SqlClient::new(clients.server.channel().await);
    let request = |sql: &str| v1::QueryRequest { sql: sql.into(), ..Default::default() };
    let reply = queries.query(request("select count(*) as n from t where _key > 'a'")).await;
    let events = reply.expect("an answer").into_inner().map(|event| event.expect("an event").event);
    let events: Vec<_> = events.collect().await;
    let (mut names, mut rows, mut end) = (Vec::new(), Vec::new(), None);
    for event in events.into_iter().flatten() {
        match event {
            Event::Columns(columns) => {
                names.extend(columns.columns.into_iter().map(|c| (c.name, c.r#type)));
            }
            Event::Rows(piece) => rows.extend_from_slice(&piece),
            Event::Progress(_) => {}
            Event::End(last) => end = Some(last),
        }
    }
    assert_eq!(names, [("n".to_owned(), "Int64".to_owned())]);
    assert_eq!(rows, b"{\"n\":1}\n");
    let end = end.expect("an end");
    assert_eq!((end.rows, end.rows_read, end.skipped), (1, 1, 0));
    assert_eq!((end.shards_asked, end.missing.len()), (end.shards_answered, 0));
    assert!(end.bytes_gathered > 0);

    let reply = queries.query(request("select x from t")).await.expect("a stream");
    let events: Vec<_> = reply.into_inner().collect().await;
    let status = events.into_iter().find_map(Result::err).expect("there is no such column");
    assert_eq!(metadata(&status, "breccia-code"), Some("invalid-query"));
    assert!(status.message().contains("(line 1, column 8)"), "{}", status.message());
}
