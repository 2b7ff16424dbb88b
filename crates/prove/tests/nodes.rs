//! Real processes under faults, in runs that are short enough for every day.

#![allow(clippy::expect_used, clippy::panic, reason = "tests panic")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, PoisonError};

/// One run at a time: nodes that starve would tell nothing.
static TURN: Mutex<()> = Mutex::new(());

/// The `breccia` binary that lies beside the tests' own, built first if it is not there.
fn breccia() -> PathBuf {
    if let Some(binary) = std::env::var_os("BRECCIA_BINARY") {
        return binary.into();
    }
    let prove = Path::new(env!("CARGO_BIN_EXE_breccia-prove"));
    let folder = prove.parent().expect("a folder");
    let binary = folder.join("breccia");
    if !binary.exists() {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--package", "breccia"]);
        if folder.ends_with("release") {
            cargo.arg("--release");
        }
        let target = folder.parent().expect("the target folder");
        let built = cargo.env("CARGO_TARGET_DIR", target).status().expect("cargo runs");
        assert!(built.success(), "breccia does not build");
    }
    binary
}

fn prove(arguments: &[&str]) -> Output {
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    Command::new(env!("CARGO_BIN_EXE_breccia-prove"))
        .arg("--binary")
        .arg(breccia())
        .args(arguments)
        .output()
        .expect("breccia-prove runs")
}

#[track_caller]
fn assert_kept(arguments: &[&str]) {
    let output = prove(arguments);
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{said}\n{complained}");
    assert!(said.contains("all promises kept"), "{said}");
}

#[test]
fn a_node_killed_under_load_is_linearizable_and_durable_over_all_protocols() {
    assert_kept(&["--seconds", "12", "--faults", "kill"]);
}

#[test]
fn a_node_that_is_stopped_slowed_and_ended_is_linearizable_over_all_protocols() {
    assert_kept(&["--seconds", "12", "--faults", "pause,slow,terminate"]);
}

#[test]
fn a_node_that_loses_its_data_breaks_its_promises_and_that_is_seen() {
    let output = prove(&["--seconds", "10", "--faults", "wipe", "--beyond-promises"]);
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("No order of these operations explains"), "{said}");
    let kept = said.lines().find_map(|line| line.split_once("kept in "));
    let kept = Path::new(kept.expect("where the data is").1);
    assert!(kept.join("node-0").join("log").exists(), "{said}");
    std::fs::remove_dir_all(kept).expect("what was kept is removed");
}

#[test]
fn three_nodes_of_which_leaders_are_killed_and_stopped_are_linearizable() {
    assert_kept(&["--nodes", "3", "--seconds", "15", "--faults", "kill,kill-all,pause,terminate"]);
}

#[test]
fn three_nodes_that_cannot_all_hear_each_other_are_linearizable() {
    assert_kept(&["--nodes", "3", "--seconds", "15", "--faults", "partition,one-way,link"]);
}

#[test]
fn three_nodes_of_which_two_have_a_full_disk_are_linearizable_and_go_on_when_there_is_room() {
    assert_kept(&["--nodes", "3", "--seconds", "15", "--faults", "disks"]);
}

#[test]
fn three_nodes_of_which_one_loses_its_data_or_room_are_linearizable() {
    assert_kept(&["--nodes", "3", "--seconds", "15", "--faults", "wipe,disk"]);
}
