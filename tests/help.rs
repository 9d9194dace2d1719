//! The whole `--help` as one snapshot: what users read changes on purpose only.
//!
//! `UPDATE_SNAPSHOTS=1 cargo test --test help` writes it anew.

use std::path::Path;
use std::process::Command;

fn help(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_embstore")).args(args).output().expect("runs");
    assert!(output.status.success(), "{args:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn help_is_what_it_was() {
    let mut text = String::new();
    for verb in [
        "",
        "run",
        "sync",
        "merge",
        "export",
        "info",
        "verify",
        "embed",
        "embed enqueue",
        "embed work",
        "embed status",
        "embed retry",
        "cluster",
        "config",
        "config show",
        "completions",
        "man",
    ] {
        let args: Vec<&str> = verb.split_whitespace().chain(["--help"]).collect();
        text.push_str(&format!("$ embstore {}\n{}\n", args.join(" "), help(&args)));
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots/help.txt");
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        std::fs::create_dir_all(path.parent().expect("has one")).expect("created");
        std::fs::write(&path, &text).expect("writable");
    }
    let expected = std::fs::read_to_string(&path).expect("the snapshot is in the repository");
    assert!(text == expected, "--help changed; if on purpose: UPDATE_SNAPSHOTS=1 cargo test --test help\n{text}");
}
