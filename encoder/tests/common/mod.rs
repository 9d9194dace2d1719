//! What the tests of engines stand on: a real model, its graph, a real library of ONNX Runtime.

use std::path::{Path, PathBuf};

/// The folder of the workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// `path` under the workspace, where it exists. Where it does not, says loudly that the test is not run; in CI that fails.
pub(crate) fn fetched(path: &str, by: &str) -> Option<PathBuf> {
    let found = root().join(path);
    if found.exists() {
        return Some(found);
    }
    assert!(std::env::var_os("CI").is_none(), "no {path} in CI: {by}");
    eprintln!("⚠ NOT RUN: no {path}: {by}");
    None
}
