//! The library in Python's package onnxruntime.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::LibraryError;
use super::candidates::in_folder;

/// Interpreters start in a fraction of a second, but over a network file system in several.
const PATIENCE: Duration = Duration::from_secs(15);

/// Finds the package without importing it. A folder of that name here is not it.
const QUESTION: &str = "import importlib.util, sys
sys.path = [path for path in sys.path if path]
found = importlib.util.find_spec('onnxruntime')
for folder in (found.submodule_search_locations or []) if found else []: print(folder)";

/// The library in the package onnxruntime of an interpreter, for example of `python3`, or of `bin/python` in a virtual
/// environment.
///
/// # Errors
///
/// [`LibraryError`]: the interpreter cannot be run, does not answer, or has no such package.
pub fn python_library(python: &Path) -> Result<PathBuf, LibraryError> {
    let answer = ask(python, PATIENCE)?;
    let mut folders = answer.lines().filter(|line| !line.is_empty()).map(|line| Path::new(line).join("capi"));
    folders
        .find_map(|folder| in_folder(&folder).into_iter().next())
        .ok_or_else(|| LibraryError::NoPackage { python: python.into() })
}

fn ask(python: &Path, patience: Duration) -> Result<String, LibraryError> {
    let failed = |source| LibraryError::Python { python: python.into(), source };
    let mut command = Command::new(python);
    command.args(["-c", QUESTION]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(failed)?;
    let ended = wait(&mut child, patience).map_err(failed)?;
    if !ended {
        // It may have ended meanwhile, and then there is nothing to kill.
        let _ = child.kill();
        child.wait().map_err(failed)?;
        return Err(LibraryError::PythonSilent { python: python.into(), seconds: patience.as_secs() });
    }
    let mut answer = Vec::new();
    if let Some(mut output) = child.stdout.take() {
        // The answer is short, so it was in the pipe in full when the interpreter ended.
        output.read_to_end(&mut answer).map_err(failed)?;
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

fn wait(child: &mut Child, patience: Duration) -> std::io::Result<bool> {
    let deadline = Instant::now() + patience;
    while child.try_wait()?.is_none() {
        if Instant::now() >= deadline {
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    fn script(text: &str) -> tempfile::TempPath {
        let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
        // Written by another process: where another test forks, its child would keep it open, and it could not be run.
        let write = "printf '#!/bin/sh\\n%s\\n' \"$1\" > \"$0\" && chmod 755 \"$0\"";
        assert!(Command::new("sh").args(["-c", write]).arg(&*path).arg(text).status().unwrap().success());
        path
    }

    #[test]
    fn an_interpreter_that_hangs_is_given_up() {
        let slow = script("exec sleep 60");
        let start = Instant::now();
        let error = ask(&slow, Duration::from_millis(200)).unwrap_err();
        assert!(matches!(error, LibraryError::PythonSilent { .. }), "{error}");
        assert!(start.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn an_interpreter_without_the_package_says_so() {
        for silent in [script("exit 0"), script("exit 1"), script("echo /nowhere")] {
            let error = python_library(&silent).unwrap_err();
            assert!(matches!(&error, LibraryError::NoPackage { .. }), "{error}");
            assert!(error.hint().contains("-m pip install onnxruntime"));
        }
    }

    #[test]
    fn no_interpreter() {
        let error = python_library(Path::new("/nowhere/python3")).unwrap_err();
        assert!(matches!(error, LibraryError::Python { .. }), "{error}");
    }
}
