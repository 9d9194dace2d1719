//! Where ONNX Runtime may be: the environment is asked here.

use std::env;
use std::path::PathBuf;

use embstore::encoder::{LibraryError, Places, libraries};

/// The libraries to try, in order: what `ORT_DYLIB_PATH` names and nothing else; beside this program; that of the Python
/// package onnxruntime, of the active environment before the one on the path. And why an interpreter gave none.
pub(super) fn found() -> (Vec<PathBuf>, Vec<LibraryError>) {
    let named = env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty()).map(PathBuf::from);
    let executable = env::current_exe().and_then(|path| path.canonicalize()).ok();
    let active = env::var_os("VIRTUAL_ENV").map(|folder| PathBuf::from(folder).join("bin/python3"));
    let path = env::var_os("PATH").unwrap_or_default();
    let on_path = env::split_paths(&path).map(|folder| folder.join("python3")).find(|python| python.is_file());
    let pythons = active.filter(|python| python.is_file()).into_iter().chain(on_path).collect();
    libraries(&Places { named, executable, pythons })
}
