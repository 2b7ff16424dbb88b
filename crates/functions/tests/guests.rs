//! The examples of functions as their compilers make them, run as a node runs them.
//!
//! C needs clang and lld. Rust needs a compiler with the target wasm32-unknown-unknown: the one
//! of this workspace if it has that, else that of the operating system. `make test` installs
//! both; without them a test says so and is passed over.

#![allow(clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use breccia_functions::{Batch, Call, Change, FunctionError, Module, Shard, Visit, Written};
use breccia_types::FunctionLimits;
use bytes::Bytes;

/// A table in memory.
#[derive(Default)]
struct Rows(BTreeMap<Vec<u8>, Vec<u8>>);

impl Shard for Rows {
    fn get(&mut self, key: &[u8]) -> Result<Option<Bytes>, FunctionError> {
        Ok(self.0.get(key).cloned().map(Bytes::from))
    }

    fn scan(
        &mut self,
        prefix: &[u8],
        after: Option<&[u8]>,
        visit: &mut Visit<'_>,
    ) -> Result<(), FunctionError> {
        for (key, value) in &self.0 {
            let is_ahead = after.is_none_or(|after| key.as_slice() > after);
            if key.starts_with(prefix) && is_ahead && visit(key, value).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn check_key(&self, _: &[u8]) -> Result<(), FunctionError> {
        Ok(())
    }

    fn check_prefix(&self, _: &[u8]) -> Result<(), FunctionError> {
        Ok(())
    }
}

impl Rows {
    fn call(&mut self, module: &Module, key: &str, arg: &str) -> Result<Bytes, FunctionError> {
        let keys = [Bytes::copy_from_slice(key.as_bytes())];
        let args = [Bytes::copy_from_slice(arg.as_bytes())];
        let call = Call { keys: &keys, args: &args, now: 0 };
        let Written { reply, changes, .. } =
            module.write(&FunctionLimits::default(), self, &call)?;
        for change in changes {
            match change {
                Change::Put { key, value } => drop(self.0.insert(key.into(), value.into())),
                other => panic!("{other:?}"),
            }
        }
        Ok(reply)
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn run(command: &mut Command) {
    let output = command.output().expect("starts");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn is_there(command: &str) -> bool {
    Command::new(command).arg("--version").output().is_ok_and(|output| output.status.success())
}

#[test]
fn a_function_in_c_counts() {
    if !is_there("clang") || !is_there("wasm-ld") {
        eprintln!("passed over: there is no clang, or no lld");
        return;
    }
    let directory = tempfile::tempdir().expect("a directory");
    let module = directory.path().join("visits.wasm");
    let compiler = &mut Command::new("clang");
    compiler.args(["--target=wasm32", "-nostdlib", "-O2", "-Wl,--no-entry", "-o"]);
    run(compiler.arg(&module).arg(root().join("examples/functions/c/visits.c")));
    let module = Module::compile(&std::fs::read(module).expect("reads")).expect("compiles");
    let mut rows = Rows::default();
    for visit in 1..4_u32 {
        let reply = rows.call(&module, "alice", "").expect("runs");
        assert_eq!(reply.as_ref(), visit.to_le_bytes());
    }
}

/// A compiler that can make WebAssembly.
fn rustc() -> Option<&'static str> {
    ["rustc", "/usr/bin/rustc"].into_iter().find(|rustc| {
        let target = ["--print", "target-libdir", "--target", "wasm32-unknown-unknown"];
        let found = Command::new(rustc).args(target).output();
        let found = found.ok().filter(|output| output.status.success());
        let path = found.and_then(|output| String::from_utf8(output.stdout).ok());
        path.is_some_and(|path| Path::new(path.trim()).is_dir())
    })
}

/// The examples in Rust, by name.
fn rust_examples() -> Option<BTreeMap<&'static str, Module>> {
    let rustc = rustc()?;
    let directory = tempfile::tempdir().expect("a directory");
    let compiler = || {
        let mut command = Command::new(rustc);
        // The tests may run under an instrumented toolchain; this is another one.
        command.env_remove("RUSTFLAGS").env_remove("RUSTUP_TOOLCHAIN");
        command.args(["--edition", "2021", "--target", "wasm32-unknown-unknown"]);
        command.args(["-C", "opt-level=s", "-C", "panic=abort", "--out-dir"]).arg(directory.path());
        if is_there("wasm-ld") {
            command.args(["-C", "linker=wasm-ld"]);
        }
        command
    };
    let library = ["--crate-type", "rlib", "--crate-name", "breccia_guest"];
    run(compiler().args(library).arg(root().join("crates/guest/src/lib.rs")));
    let library = directory.path().join("libbreccia_guest.rlib");
    let examples = root().join("examples/functions/rust");
    let sources = [
        ("visits", "src/lib.rs"),
        ("neighbours", "examples/neighbours.rs"),
        ("longest", "examples/longest.rs"),
    ];
    let modules = sources.map(|(name, source)| {
        let extern_guest = format!("breccia_guest={}", library.display());
        let kind = ["--crate-type", "cdylib", "--crate-name", name, "--extern", &extern_guest];
        let small = ["-C", "lto=fat", "-C", "strip=symbols"];
        run(compiler().args(kind).args(small).arg(examples.join(source)));
        let module = std::fs::read(directory.path().join(format!("{name}.wasm")));
        (name, Module::compile(&module.expect("reads")).expect("compiles"))
    });
    Some(modules.into())
}

#[test]
fn functions_in_rust_run_and_say_why_they_fail() {
    let Some(modules) = rust_examples() else {
        eprintln!("passed over: no rustc here has the target wasm32-unknown-unknown");
        return;
    };
    let limits = FunctionLimits::default();
    let mut rows = Rows::default();
    let visits = &modules["visits"];
    assert_eq!(rows.call(visits, "alice", "2").as_deref(), Ok(&b"1"[..]));
    assert_eq!(rows.call(visits, "alice", "2").as_deref(), Ok(&b"2"[..]));
    let message = "there were 2 visits already".to_owned();
    assert_eq!(rows.call(visits, "alice", "2"), Err(FunctionError::Failed { message }));

    let mut expected = Vec::new();
    for row in 0..2_500 {
        rows.0.insert(format!("shop/{row:05}").into(), b"".into());
        expected.extend(format!("shop/{row:05}\n").into_bytes());
    }
    rows.0.insert(b"store/1".to_vec(), Vec::new());
    let keys = [Bytes::from_static(b"shop/1")];
    let call = Call { keys: &keys, args: &[], now: 0 };
    let found = modules["neighbours"].read(&limits, &mut rows, &call);
    assert_eq!(found.as_deref(), Ok(&expected[..]));
    let keys = [Bytes::from_static(b"shop")];
    let call = Call { keys: &keys, args: &[], now: 0 };
    let message = "the key has no /".to_owned();
    let failed = modules["neighbours"].read(&limits, &mut rows, &call);
    assert_eq!(failed, Err(FunctionError::Failed { message }));

    let mut longest = modules["longest"].reducer(&limits, Bytes::new()).expect("starts");
    let mut states = Vec::new();
    for shard in 0..3_u32 {
        let (mut state, mut batch) = (Bytes::new(), Batch::default());
        for row in 0..20_000_u32 {
            let number = (row * 7 + shard * 13) % 10_007;
            batch.push(format!("{shard}/{row}").as_bytes(), number.to_string().as_bytes());
            if batch.is_full() {
                state = longest.step(&state, &batch).expect("steps");
                batch.clear();
            }
        }
        states.push(longest.step(&state, &batch).expect("steps"));
    }
    let whole = states.into_iter().reduce(|a, b| longest.combine(&a, &b).expect("combines"));
    let shown = longest.present(&whole.expect("a state")).expect("presents");
    let shown = String::from_utf8(shown.into()).expect("text");
    assert!(shown.contains(r#""number": 10006"#), "{shown}");
}
