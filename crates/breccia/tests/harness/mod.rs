//! Runs the built binary: nodes on free ports, and commands against them.

#![allow(dead_code, reason = "every test file uses its own part of the harness")]

pub(crate) mod cluster;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// How long a node may take to start or to stop, and a command to end.
const DEADLINE: Duration = Duration::from_secs(60);

/// What a command said.
#[derive(Debug)]
pub(crate) struct Said {
    /// Its exit code.
    pub(crate) code: i32,
    /// Its standard output.
    pub(crate) out: String,
    /// Its standard error.
    pub(crate) err: String,
}

impl Said {
    /// The output of a command that must have succeeded.
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.out
    }
}

/// The binary, in a folder of its own and with an environment that says nothing to it.
pub(crate) fn breccia(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_breccia"));
    command.current_dir(folder);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("BRECCIA_") {
            command.env_remove(name);
        }
    }
    // Nodes of tests that run together must not listen at the same address.
    command.env("BRECCIA_PEER", "127.0.0.1:0");
    command
}

/// Runs a command to its end, with `input` as its standard input.
#[track_caller]
pub(crate) fn run_with(folder: &Path, args: &[&str], input: &[u8]) -> Said {
    let mut child = breccia(folder)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut stdin = child.stdin.take().expect("piped");
    let input = input.to_vec();
    let feed = std::thread::spawn(move || drop(stdin.write_all(&input)));
    let collect = |mut from: Box<dyn Read + Send>| {
        std::thread::spawn(move || {
            let mut text = Vec::new();
            from.read_to_end(&mut text).expect("reads");
            String::from_utf8_lossy(&text).into_owned()
        })
    };
    let out = collect(Box::new(child.stdout.take().expect("piped")));
    let err = collect(Box::new(child.stderr.take().expect("piped")));
    let status = wait(&mut child, args);
    feed.join().expect("fed");
    Said {
        code: status.code().unwrap_or(-1),
        out: out.join().expect("collected"),
        err: err.join().expect("collected"),
    }
}

#[track_caller]
fn wait(child: &mut Child, what: &[&str]) -> ExitStatus {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("waits") {
            return status;
        }
        if start.elapsed() > DEADLINE {
            child.kill().expect("kills");
            panic!("{what:?} did not end within {DEADLINE:?}");
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// A running node.
pub(crate) struct Node {
    child: Child,
    folder: PathBuf,
    /// Where it serves gRPC and REST.
    pub(crate) http: String,
    /// Where it serves the Redis protocol.
    pub(crate) resp: String,
    /// Where other nodes reach it.
    pub(crate) peer: String,
}

impl Node {
    /// Starts a node with its data in `<folder>/data`, on free ports.
    #[track_caller]
    pub(crate) fn start(folder: &Path) -> Self {
        Self::start_with(folder, &[])
    }

    /// Starts a node with more arguments.
    #[track_caller]
    pub(crate) fn start_with(folder: &Path, more: &[&str]) -> Self {
        let base = ["serve", "--data", "data", "--http", "127.0.0.1:0", "--resp", "127.0.0.1:0"];
        let args: Vec<&str> = base.iter().chain(more).copied().collect();
        Self::spawn(folder, &args)
    }

    /// Starts `serve` or `dev` with just these arguments.
    #[track_caller]
    pub(crate) fn spawn(folder: &Path, args: &[&str]) -> Self {
        let mut command = breccia(folder);
        command.args(args);
        Self::launch(folder, command)
    }

    #[track_caller]
    fn launch(folder: &Path, mut command: Command) -> Self {
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("the binary starts");
        let stdout = BufReader::new(child.stdout.take().expect("piped"));
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                // The test may have heard enough; the pipe is still drained.
                let _ = tell.send(line);
            }
        });
        let (mut http, mut resp, mut peer) = (None, None, None);
        let start = Instant::now();
        loop {
            let left = DEADLINE.saturating_sub(start.elapsed());
            let line = told.recv_timeout(left).expect("the node says that it is ready");
            match line.split_once(' ') {
                Some(("http", address)) => http = Some(address.to_owned()),
                Some(("resp", address)) => resp = Some(address.to_owned()),
                Some(("peer", address)) => peer = Some(address.to_owned()),
                _ if line == "ready" => break,
                _ => {}
            }
        }
        let (http, resp) = (http.expect("http address"), resp.expect("resp address"));
        let peer = peer.expect("peer address");
        Self { child, folder: folder.to_owned(), http, resp, peer }
    }

    /// Runs a client command against the node.
    #[track_caller]
    pub(crate) fn run(&self, args: &[&str]) -> Said {
        self.run_with(args, b"")
    }

    /// Runs a client command against the node, with a standard input.
    #[track_caller]
    pub(crate) fn run_with(&self, args: &[&str], input: &[u8]) -> Said {
        let server = ["--server", &self.http];
        let args: Vec<&str> = args.iter().copied().chain(server).collect();
        run_with(&self.folder, &args, input)
    }

    /// The value of a metric, named with its labels as `/metrics` shows it; 0 if it is not there.
    #[track_caller]
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let mut stream = TcpStream::connect(&self.http).expect("connects");
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        let request = "GET /metrics HTTP/1.1\r\nHost: node\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).expect("asks");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("reads");
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.map_or(0, |value| value.parse().expect("a number"))
    }

    /// Sends a signal and waits until the process has ended.
    #[track_caller]
    pub(crate) fn end_by(mut self, signal: &str) -> ExitStatus {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status().expect("kill runs");
        assert!(sent.success());
        wait(&mut self.child, &["serve"])
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A connection of the Redis protocol that sends pipelines of commands.
pub(crate) struct Connection(BufReader<TcpStream>);

impl Connection {
    pub(crate) fn open(address: &str) -> Self {
        let stream = TcpStream::connect(address).expect("connects");
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        Self(BufReader::new(stream))
    }

    /// Sends commands together. `None` once the node is gone.
    pub(crate) fn send(&mut self, commands: &[Vec<String>]) -> Option<()> {
        let mut bytes = Vec::new();
        for command in commands {
            write!(bytes, "*{}\r\n", command.len()).expect("memory");
            for part in command {
                write!(bytes, "${}\r\n{part}\r\n", part.len()).expect("memory");
            }
        }
        self.0.get_mut().write_all(&bytes).ok()
    }

    /// One reply: a status, a number, or a value. `None` once the node is gone.
    pub(crate) fn reply(&mut self) -> Option<String> {
        let line = self.line()?;
        match line.strip_prefix('$') {
            Some("-1") => Some("(nil)".to_owned()),
            Some(bytes) => {
                let mut value = vec![0; bytes.parse::<usize>().ok()? + 2];
                self.0.read_exact(&mut value).ok()?;
                value.truncate(value.len() - 2);
                Some(String::from_utf8_lossy(&value).into_owned())
            }
            None => Some(line),
        }
    }

    /// The reply to one command of a node that must be there.
    #[track_caller]
    pub(crate) fn ask(&mut self, command: &[&str]) -> String {
        let command = command.iter().map(|part| (*part).to_owned()).collect();
        self.send(&[command]).expect("sends");
        self.reply().expect("a reply")
    }

    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        match self.0.read_line(&mut line) {
            Ok(read) if read > 0 && line.ends_with("\r\n") => {
                line.truncate(line.len() - 2);
                Some(line)
            }
            _ => None,
        }
    }
}

/// A small disk of its own, in memory, mounted on `<folder>/data` for the nodes started on
/// it and for nobody else. Needs user namespaces, or root.
pub(crate) struct SmallDisk {
    holder: Child,
    folder: PathBuf,
}

impl SmallDisk {
    /// Mounts a disk of so many MiB.
    #[track_caller]
    pub(crate) fn mount(folder: &Path, mebibytes: u32) -> Self {
        std::fs::create_dir(folder.join("data")).expect("makes the mount point");
        let script = format!("mount -t tmpfs -o size={mebibytes}m small data && echo up && cat");
        let mut holder = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", &script])
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare runs");
        let mut line = String::new();
        let mut said = BufReader::new(holder.stdout.take().expect("piped"));
        said.read_line(&mut line).expect("reads");
        assert_eq!(line, "up\n", "mounting a tmpfs in a namespace of its own is not allowed here");
        Self { holder, folder: folder.to_owned() }
    }

    /// Makes the disk larger.
    #[track_caller]
    pub(crate) fn enlarge(&self, mebibytes: u32) {
        let size = format!("remount,size={mebibytes}m");
        let status = self.inside("mount").args(["-o", &size, "data"]).status().expect("runs");
        assert!(status.success());
    }

    /// Starts a node on the disk.
    #[track_caller]
    pub(crate) fn start_node(&self, more: &[&str]) -> Node {
        let mut command = self.inside(env!("CARGO_BIN_EXE_breccia"));
        command.args(["serve", "--data", "data", "--http", "127.0.0.1:0"]);
        command.args(["--resp", "127.0.0.1:0", "--peer", "127.0.0.1:0", "--log", "warn"]);
        command.args(more);
        Node::launch(&self.folder, command)
    }

    fn inside(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        let holder = self.holder.id().to_string();
        command.args(["--user", "--mount", "--preserve-credentials", "--target", &holder]);
        command.arg(format!("--wdns={}", self.folder.display())).arg(program);
        command
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
