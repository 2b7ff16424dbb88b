//! The Redis protocol over a socket: bytes in, bytes out.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use breccia_node::{Node, NodeConfig};
use breccia_server::resp::{Config, Metrics, Server};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

const DEADLINE: Duration = Duration::from_secs(20);

/// A server over a node in memory.
struct Fixture {
    node: Node,
    address: SocketAddr,
    metrics: Metrics,
    stop: CancellationToken,
    running: JoinHandle<std::io::Result<()>>,
}

impl Fixture {
    async fn start() -> Result<Self> {
        Self::with(|_| {}).await
    }

    async fn with(choose: impl FnOnce(&mut Config)) -> Result<Self> {
        let mut config = Config::new(([127, 0, 0, 1], 0).into());
        choose(&mut config);
        let mut opened = NodeConfig::in_memory();
        config.extensions.extend(&mut opened);
        let node = Node::open(opened).await?;
        let server = Server::bind(node.clone(), config).await?;
        let (address, metrics) = (server.local_addr(), server.metrics());
        let stop = CancellationToken::new();
        let running = tokio::spawn(server.run(stop.clone()));
        Ok(Self { node, address, metrics, stop, running })
    }

    async fn connect(&self) -> Result<Client> {
        Ok(Client(TcpStream::connect(self.address).await?))
    }

    async fn end(self) -> Result<()> {
        self.stop.cancel();
        timeout(DEADLINE, self.running).await.context("the server did not end")???;
        self.node.shutdown().await;
        Ok(())
    }
}

struct Client(TcpStream);

impl Client {
    async fn send(&mut self, bytes: impl AsRef<[u8]>) -> Result<()> {
        Ok(self.0.write_all(bytes.as_ref()).await?)
    }

    /// Sends, and expects exactly this answer.
    async fn expect(&mut self, request: impl AsRef<[u8]>, answer: &str) -> Result<()> {
        self.send(request).await?;
        self.receive(answer).await
    }

    async fn receive(&mut self, answer: &str) -> Result<()> {
        let mut got = vec![0; answer.len()];
        let read = timeout(DEADLINE, self.0.read_exact(&mut got)).await;
        read.with_context(|| format!("no answer {answer:?} in time"))??;
        let got = String::from_utf8_lossy(&got);
        ensure!(got == answer, "expected {answer:?}, got {got:?}");
        Ok(())
    }

    /// Expects the end of the connection.
    async fn expect_end(&mut self) -> Result<()> {
        let mut rest = Vec::new();
        timeout(DEADLINE, self.0.read_to_end(&mut rest)).await.context("no end in time")??;
        ensure!(rest.is_empty(), "more came: {rest:?}");
        Ok(())
    }

    /// One line, without its end.
    async fn line(&mut self) -> Result<String> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.push(timeout(DEADLINE, self.0.read_u8()).await.context("no line in time")??);
        }
        line.truncate(line.len() - 2);
        Ok(String::from_utf8(line)?)
    }

    async fn bulk(&mut self) -> Result<String> {
        let head = self.line().await?;
        let length = head.strip_prefix('$').context("no bulk")?.parse()?;
        let mut value = vec![0; length];
        self.0.read_exact(&mut value).await?;
        self.receive("\r\n").await?;
        Ok(String::from_utf8(value)?)
    }
}

#[tokio::test]
async fn strings_are_written_and_read() -> Result<()> {
    let server = Fixture::start().await?;
    let mut client = server.connect().await?;
    for (line, answer) in [
        ("PING", "+PONG\r\n"),
        ("SET k v", "+OK\r\n"),
        ("GET k", "$1\r\nv\r\n"),
        ("GET none", "$-1\r\n"),
        ("SET k w NX", "$-1\r\n"),
        ("SET k w XX GET", "$1\r\nv\r\n"),
        ("SETNX k x", ":0\r\n"),
        ("APPEND k orld", ":5\r\n"),
        ("GETRANGE k 0 2", "$3\r\nwor\r\n"),
        ("SETRANGE k 1 OR", ":5\r\n"),
        ("GETDEL k", "$5\r\nwORld\r\n"),
        ("INCRBY n 41", ":41\r\n"),
        ("INCR n", ":42\r\n"),
        ("INCRBYFLOAT n .5", "$4\r\n42.5\r\n"),
        ("INCR n", "-ERR value is not an integer or out of range\r\n"),
        ("MSET {t}a 1 {t}b 2", "+OK\r\n"),
        ("MSETNX {t}b 1 {t}c 2", ":0\r\n"),
        ("MGET {t}a none {t}b", "*3\r\n$1\r\n1\r\n$-1\r\n$1\r\n2\r\n"),
        ("EXISTS {t}a n {t}a", ":3\r\n"),
        ("SETBIT bits 7 1", ":0\r\n"),
        ("GET bits", "$1\r\n\u{1}\r\n"),
        ("TYPE bits", "+string\r\n"),
        ("RENAME {t}a {t}d", "+OK\r\n"),
        ("RENAMENX {t}d {t}b", ":0\r\n"),
        ("RENAME none n", "-CROSSSLOT Keys in request don't hash to the same slot\r\n"),
        ("RENAME {t}none {t}b", "-ERR no such key\r\n"),
        ("COPY {t}d {t}e", ":1\r\n"),
        ("DEL {t}b {t}d {t}e n bits none", ":5\r\n"),
        ("DBSIZE", ":0\r\n"),
    ] {
        client.expect(format!("{line}\r\n"), answer).await.context(line)?;
    }
    server.end().await
}

#[tokio::test]
async fn keys_expire_when_they_are_told_to() -> Result<()> {
    let server = Fixture::start().await?;
    let mut client = server.connect().await?;
    for (line, answer) in [
        ("SET k v EX 100", "+OK\r\n"),
        ("TTL k", ":100\r\n"),
        ("EXPIRE k 50 GT", ":0\r\n"),
        ("EXPIRE k 200 GT", ":1\r\n"),
        ("TTL k", ":200\r\n"),
        ("SET k w KEEPTTL", "+OK\r\n"),
        ("PERSIST k", ":1\r\n"),
        ("TTL k", ":-1\r\n"),
        ("EXPIREAT k 9999999999", ":1\r\n"),
        ("EXPIRETIME k", ":9999999999\r\n"),
        ("PEXPIREAT k 1", ":1\r\n"),
        ("TTL k", ":-2\r\n"),
        ("SET k v PX 1", "+OK\r\n"),
    ] {
        client.expect(format!("{line}\r\n"), answer).await.context(line)?;
    }
    let end = tokio::time::Instant::now() + DEADLINE;
    loop {
        client.send("EXISTS k\r\n").await?;
        if client.line().await? == ":0" {
            break;
        }
        ensure!(tokio::time::Instant::now() < end, "the key did not expire");
    }
    server.end().await
}

#[tokio::test]
async fn pipelined_commands_are_answered_in_order() -> Result<()> {
    let server = Fixture::start().await?;
    let mut client = server.connect().await?;
    let request = "SET a 1\r\nGET a\r\nINCR a\r\nGET other\r\nGET a\r\nDEL a b c\r\nfoo\r\n\
                   SET a 2\r\nSET b 3\r\nDBSIZE\r\nFLUSHALL\r\nGET a\r\nSET a 4\r\nMGET a b\r\n";
    let answer = "+OK\r\n$1\r\n1\r\n:2\r\n$-1\r\n$1\r\n2\r\n:1\r\n\
                  -ERR unknown command 'foo', with args beginning with: \r\n\
                  +OK\r\n+OK\r\n:2\r\n+OK\r\n$-1\r\n+OK\r\n*2\r\n$1\r\n4\r\n$-1\r\n";
    client.expect(request, answer).await?;
    let (mut requests, mut answers) = (String::new(), String::new());
    for number in 1..=5_000 {
        requests.push_str("*2\r\n$4\r\nINCR\r\n$1\r\nn\r\n*2\r\n$3\r\nGET\r\n$1\r\nn\r\n");
        let text = number.to_string();
        answers.push_str(&format!(":{text}\r\n${}\r\n{text}\r\n", text.len()));
    }
    client.expect(requests, &answers).await?;
    server.end().await
}

#[tokio::test]
async fn commands_may_arrive_in_pieces() -> Result<()> {
    let server = Fixture::start().await?;
    let mut client = server.connect().await?;
    for piece in
        ["*3\r", "\n$3\r\nSE", "T\r\n$1\r\nk\r\n$5\r\nhe", "llo\r", "\n*2\r\n$3\r\nGET\r\n"]
    {
        client.send(piece).await?;
        tokio::task::yield_now().await;
    }
    client.expect("$1\r\nk\r\n", "+OK\r\n$5\r\nhello\r\n").await?;
    let value = "x".repeat(3 << 20);
    let set = format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${}\r\n{value}\r\n", value.len());
    client.expect(set, "+OK\r\n").await?;
    client.expect("GET k\r\n", &format!("${}\r\n{value}\r\n", value.len())).await?;
    server.end().await
}

#[tokio::test]
async fn what_is_no_protocol_ends_the_connection_with_redis_s_words() -> Result<()> {
    let server = Fixture::start().await?;
    for (request, answer) in [
        ("*3000000000\r\n", "-ERR Protocol error: invalid multibulk length\r\n"),
        ("PING\r\n*1\r\nfoo\r\n", "+PONG\r\n-ERR Protocol error: expected '$', got 'f'\r\n"),
        ("*1\r\n$-10\r\n", "-ERR Protocol error: invalid bulk length\r\n"),
        ("get \"a\r\n", "-ERR Protocol error: unbalanced quotes in request\r\n"),
        ("POST / HTTP/1.1\r\nHost: x\r\n\r\n", ""),
    ] {
        let mut client = server.connect().await?;
        client.expect(request, answer).await.context(request)?;
        client.expect_end().await.context(request)?;
    }
    server.end().await
}

#[tokio::test]
async fn a_scan_visits_every_key_once() -> Result<()> {
    let server = Fixture::start().await?;
    let mut client = server.connect().await?;
    for number in 0..500 {
        client.send(format!("SET key:{number} {number}\r\n")).await?;
        client.receive("+OK\r\n").await?;
    }
    let (mut cursor, mut keys, mut pages) = ("0".to_owned(), Vec::new(), 0);
    loop {
        client.send(format!("SCAN {cursor} COUNT 64 MATCH key:*[02468]\r\n")).await?;
        client.receive("*2\r\n").await?;
        cursor = client.bulk().await?;
        let count: usize = client.line().await?.trim_start_matches('*').parse()?;
        for _ in 0..count {
            keys.push(client.bulk().await?);
        }
        pages += 1;
        if cursor == "0" {
            break;
        }
    }
    ensure!(pages >= 500 / 64, "{pages} pages");
    ensure!(keys.len() == 250, "{} keys", keys.len());
    keys.sort();
    keys.dedup();
    ensure!(keys.len() == 250, "{} different keys", keys.len());
    let unknown = "-ERR this cursor is not known any more; start the scan again from 0\r\n";
    client.expect("SCAN 12345\r\n", unknown).await?;
    client.expect("KEYS key:49?\r\n", "*10\r\n").await?;
    server.end().await
}

#[tokio::test]
async fn sketches_count_across_slots_and_merge_within_one() -> Result<()> {
    let server = Fixture::start().await?;
    let mut client = server.connect().await?;
    for (line, answer) in [
        ("PFADD {t}a x y z", ":1\r\n"),
        ("PFADD {t}a x", ":0\r\n"),
        ("PFADD b z w", ":1\r\n"),
        ("PFCOUNT {t}a b", ":4\r\n"),
        ("PFMERGE {t}c {t}a", "+OK\r\n"),
        ("PFCOUNT {t}c", ":3\r\n"),
        ("PFMERGE {t}c b", "-CROSSSLOT Keys in request don't hash to the same slot\r\n"),
        ("SET {t}s text", "+OK\r\n"),
        ("PFCOUNT {t}s", "-WRONGTYPE Key is not a valid HyperLogLog string value.\r\n"),
    ] {
        client.expect(format!("{line}\r\n"), answer).await.context(line)?;
    }
    server.end().await
}

#[tokio::test]
async fn a_connection_chooses_how_it_is_spoken_to() -> Result<()> {
    let server = Fixture::start().await?;
    let mut client = server.connect().await?;
    client.send("HELLO 3 SETNAME me\r\nCLIENT GETNAME\r\nGET none\r\n").await?;
    client.receive("%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n").await?;
    ensure!(client.bulk().await? == "7.0.15");
    client.receive("$5\r\nproto\r\n:3\r\n$2\r\nid\r\n:1\r\n$4\r\nmode\r\n").await?;
    client
        .receive("$7\r\ncluster\r\n$4\r\nrole\r\n$6\r\nmaster\r\n$7\r\nmodules\r\n*0\r\n")
        .await?;
    client.receive("$2\r\nme\r\n_\r\n").await?;
    client.expect("CLIENT REPLY SKIP\r\nSET k v\r\nGET k\r\n", "$1\r\nv\r\n").await?;
    client.expect("CLIENT REPLY OFF\r\nGET k\r\nCLIENT REPLY ON\r\n", "+OK\r\n").await?;
    client.expect("RESET\r\nCLIENT GETNAME\r\n", "+RESET\r\n$-1\r\n").await?;
    client.expect("CLIENT ID\r\n", ":1\r\n").await?;
    let mut other = server.connect().await?;
    other.expect("CLIENT KILL ID 1\r\n", ":1\r\n").await?;
    client.expect_end().await?;
    other.expect("QUIT\r\nPING\r\n", "+OK\r\n").await?;
    other.expect_end().await?;
    server.end().await
}

#[tokio::test]
async fn the_node_is_a_cluster_of_one_at_the_address_connected_to() -> Result<()> {
    let server = Fixture::start().await?;
    let mut client = server.connect().await?;
    let id = server.node.id().to_cluster_name();
    let port = server.address.port();
    client.expect("CLUSTER MYID\r\n", &format!("$40\r\n{id}\r\n")).await?;
    let slots = format!(
        "*1\r\n*3\r\n:0\r\n:16383\r\n*4\r\n$9\r\n127.0.0.1\r\n:{port}\r\n$40\r\n{id}\r\n*0\r\n"
    );
    client.expect("CLUSTER SLOTS\r\n", &slots).await?;
    client.send("CLUSTER NODES\r\n").await?;
    let nodes = client.bulk().await?;
    let line = format!("{id} 127.0.0.1:{port}@0 myself,master - 0 0 1 connected 0-16383\n");
    ensure!(nodes == line, "{nodes}");
    client.expect("SET foo 1\r\nCLUSTER COUNTKEYSINSLOT 12182\r\n", "+OK\r\n:1\r\n").await?;
    client.expect("CLUSTER GETKEYSINSLOT 12182 9\r\n", "*1\r\n$3\r\nfoo\r\n").await?;
    client.send("INFO cluster\r\n").await?;
    ensure!(client.bulk().await? == "# Cluster\r\ncluster_enabled:1\r\n");
    server.end().await
}

#[tokio::test]
async fn one_connection_too_many_is_told_so() -> Result<()> {
    let server = Fixture::with(|config| config.connections_max = 1).await?;
    let mut first = server.connect().await?;
    first.expect("PING\r\n", "+PONG\r\n").await?;
    let mut second = server.connect().await?;
    second.receive("-ERR max number of clients reached\r\n").await?;
    second.expect_end().await?;
    first.expect("PING\r\n", "+PONG\r\n").await?;
    ensure!(server.metrics.refused() == 1);
    ensure!(server.metrics.commands().any(|(name, calls)| name == "ping" && calls == 2));
    server.end().await
}

#[tokio::test]
async fn a_server_that_ends_closes_idle_connections() -> Result<()> {
    let server = Fixture::start().await?;
    let mut client = server.connect().await?;
    client.expect("SET k v\r\n", "+OK\r\n").await?;
    server.end().await?;
    client.expect_end().await
}

const VISITS: &str = include_str!("../../../examples/functions/text/visits.wat");
const LOOKUP: &str = include_str!("../../../examples/functions/text/lookup.wat");

#[cfg(feature = "functions")]
#[tokio::test(flavor = "multi_thread")]
async fn functions_are_called_in_their_place_among_other_commands() -> Result<()> {
    use breccia_types::FunctionLimits;

    let modules = breccia_functions::Modules::new();
    let extensions = breccia_server::Extensions::with_modules(modules.clone());
    let fixture = Fixture::with(|config| config.extensions = extensions).await?;
    let functions = breccia_functions::Functions::new(fixture.node.clone(), modules);
    for (name, module) in [("visits", VISITS), ("lookup", LOOKUP)] {
        functions.deploy(name, FunctionLimits::default(), module.into()).await?;
    }
    let mut client = fixture.connect().await?;
    let count = |visits: u8| format!("$8\r\n{}\0\0\0\0\0\0\0\r\n", char::from(visits));
    // What is pipelined before a call is done before it, and what comes after sees it.
    client
        .send("SET k v\r\nFCALL_RO lookup 1 k\r\nDEL k\r\nFCALL visits 1 k\r\nSTRLEN k\r\n")
        .await?;
    client.receive(&format!("+OK\r\n$1\r\nv\r\n:1\r\n{}:8\r\n", count(1))).await?;
    client.expect("fcall visits 1 k some arguments\r\n", &count(2)).await?;
    let refusals = [
        (
            "FCALL_RO visits 1 k\r\n",
            "-ERR \"visits\" is a write function, and this needs a read function\r\n",
        ),
        ("FCALL lookup 1 none\r\n", "-ERR function \"lookup\": there is no such row\r\n"),
        (
            "FCALL nothing 1 k\r\n",
            "-ERR there is no function \"nothing\"; list what there is with `breccia fn list`\r\n",
        ),
        ("FCALL visits 2 k\r\n", "-ERR Number of keys can't be greater than number of args\r\n"),
        ("FCALL visits -1 k\r\n", "-ERR Number of keys can't be negative\r\n"),
        ("FCALL visits one k\r\n", "-ERR Bad number of keys provided\r\n"),
        ("FCALL visits 2 a b\r\n", "-CROSSSLOT Keys in request don't hash to the same slot\r\n"),
    ];
    for (request, answer) in refusals {
        client.expect(request, answer).await?;
    }
    // Muted, it is done all the same.
    client
        .send("CLIENT REPLY OFF\r\nFCALL visits 1 k\r\nCLIENT REPLY ON\r\nFCALL visits 1 k\r\n")
        .await?;
    client.receive(&format!("+OK\r\n{}", count(4))).await?;
    fixture.end().await
}

#[tokio::test(flavor = "multi_thread")]
async fn operands_are_merged_into_monoid_tables_once_per_request_id() -> Result<()> {
    use breccia_types::TableOptions;

    let fixture = Fixture::start().await?;
    for (name, kind) in [("views", "monoid:sum:i64"), ("longest", "monoid:max:i64"), ("t", "plain")]
    {
        let options = TableOptions { kind: kind.parse()?, ..TableOptions::default() };
        fixture.node.create_table(name, options).await?;
    }
    let mut client = fixture.connect().await?;
    client.expect("BRECCIA.GET views page\r\n", "$-1\r\n").await?;
    client
        .expect("BRECCIA.MERGE views page 3\r\nBRECCIA.MERGE views page 4\r\n", "+OK\r\n+OK\r\n")
        .await?;
    for _ in 0..3 {
        let once = "breccia.merge views page 10 request 00112233445566778899aabbccddeeff\r\n";
        client.expect(once, "+OK\r\n").await?;
    }
    client.expect("BRECCIA.GET views page\r\n", "$2\r\n17\r\n").await?;
    for seconds in [5, 9, 7] {
        client.expect(format!("BRECCIA.MERGE longest page {seconds}\r\n"), "+OK\r\n").await?;
    }
    client.expect("BRECCIA.GET longest page\r\n", "$1\r\n9\r\n").await?;
    let refusals = [
        ("BRECCIA.MERGE t k 1\r\n", "-ERR merge needs a monoid table"),
        ("BRECCIA.MERGE views k many\r\n", "-ERR "),
        ("BRECCIA.MERGE nothing k 1\r\n", "-ERR there is no table"),
        ("BRECCIA.MERGE views k 1 REQUEST x\r\n", "-ERR a request id is a UUID"),
        ("BRECCIA.MERGE views k 1 2\r\n", "-ERR syntax error"),
    ];
    for (request, answer) in refusals {
        let mut client = fixture.connect().await?;
        client.expect(request, answer).await?;
    }
    fixture.end().await
}
