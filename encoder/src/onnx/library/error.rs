//! What can be wrong with a library.

use std::io;
use std::path::{Path, PathBuf};

use super::API;

/// Why there is no usable ONNX Runtime.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LibraryError {
    /// There is none anywhere.
    #[error("no library of ONNX Runtime is installed")]
    None,
    /// There are several, and none can be used.
    #[error("no library of ONNX Runtime can be used: {}", list(errors))]
    NoneOf {
        /// What is wrong with each.
        errors: Vec<LibraryError>,
    },
    /// The file is missing.
    #[error("{}: no such file: the library of ONNX Runtime is missing", path.display())]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's own error.
        source: io::Error,
    },
    /// The file is none.
    #[error("{}: is no shared library", path.display())]
    NotALibrary {
        /// The file.
        path: PathBuf,
    },
    /// The file ends before its content does.
    #[error("{}: is cut off: it should have at least {expected} bytes and has {got}", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Bytes by its header.
        expected: u64,
        /// Bytes that are there.
        got: u64,
    },
    /// It is for another machine.
    #[error("{}: is for {got}, and this is {expected}", path.display())]
    Architecture {
        /// The file.
        path: PathBuf,
        /// What it is for.
        got: String,
        /// What this program is for.
        expected: &'static str,
    },
    /// A library that it needs is missing.
    #[error("{}: needs {needs}, which is not found", path.display())]
    Dependency {
        /// The file.
        path: PathBuf,
        /// The library that is missing.
        needs: String,
    },
    /// The system cannot load it.
    #[error("{}: cannot be loaded: {what}", path.display())]
    Load {
        /// The file.
        path: PathBuf,
        /// What the system says.
        what: String,
    },
    /// It is something else.
    #[error("{}: is not ONNX Runtime: it has no OrtGetApiBase", path.display())]
    NotOnnxRuntime {
        /// The file.
        path: PathBuf,
    },
    /// It is too old, or of a later generation.
    #[error("{}: is ONNX Runtime {found}; needed is 1.{API} or a later 1.x", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: String,
    },
    /// It does not give out the interface that its version has.
    #[error("{}: is ONNX Runtime {found}, but has not the interface of 1.{API}", path.display())]
    NoInterface {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: String,
    },
    /// The interpreter cannot be asked.
    #[error("{}: cannot be run: {source}", python.display())]
    Python {
        /// The interpreter.
        python: PathBuf,
        /// The system's own error.
        source: io::Error,
    },
    /// The interpreter does not answer.
    #[error("{}: does not say within {seconds} s where onnxruntime is", python.display())]
    PythonSilent {
        /// The interpreter.
        python: PathBuf,
        /// How long it was waited for.
        seconds: u64,
    },
    /// The interpreter has no such package.
    #[error("{}: has no package onnxruntime", python.display())]
    NoPackage {
        /// The interpreter.
        python: PathBuf,
    },
    /// Another library is in use already, and a process can have one.
    #[error("{}: cannot be used beside {}, which this process has loaded", path.display(), loaded.display())]
    Another {
        /// The file.
        path: PathBuf,
        /// The one that is in use.
        loaded: PathBuf,
    },
}

impl LibraryError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            LibraryError::None | LibraryError::Missing { .. } | LibraryError::NoneOf { .. } => {
                "pip install onnxruntime, or name the library: ORT_DYLIB_PATH=/path/to/libonnxruntime.so".into()
            }
            LibraryError::Read { .. } => "make it readable for this user".into(),
            LibraryError::NotALibrary { .. } | LibraryError::NotOnnxRuntime { .. } => {
                "name that of ONNX Runtime: ORT_DYLIB_PATH=/path/to/libonnxruntime.so, or pip install onnxruntime"
                    .into()
            }
            LibraryError::Truncated { .. } | LibraryError::NoInterface { .. } => {
                "install it again: pip install --force-reinstall onnxruntime".into()
            }
            LibraryError::Architecture { expected, .. } => {
                format!("install the one for {expected}: pip install onnxruntime, with a Python for {expected}")
            }
            LibraryError::Dependency { needs, .. } => {
                format!(
                    "install {needs} with the system's packages, or take the build for processors: pip install onnxruntime"
                )
            }
            LibraryError::Load { .. } => "take another build: pip install --force-reinstall onnxruntime".into(),
            LibraryError::Version { .. } => "pip install --upgrade onnxruntime".into(),
            LibraryError::Python { python, .. } | LibraryError::PythonSilent { python, .. } => format!(
                "see what {} -c pass does, or name the library: ORT_DYLIB_PATH=/path/to/libonnxruntime.so",
                python.display()
            ),
            LibraryError::NoPackage { python } => format!("{} -m pip install onnxruntime", python.display()),
            LibraryError::Another { .. } => "use one library in a process".into(),
        }
    }

    pub(super) fn reading(path: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::NotFound => LibraryError::Missing { path: path.into() },
            _ => LibraryError::Read { path: path.into(), source },
        }
    }
}

fn list(errors: &[LibraryError]) -> String {
    errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
