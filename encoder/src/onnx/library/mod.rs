//! The shared library of ONNX Runtime: where it may lie, and whether it can be used.
//!
//! It is looked through before anything else is done with it, because a binding that meets none, an old one or a broken
//! one panics or hangs: its header says whether it is whole and for this machine, then it is loaded and asked for its
//! version and for the interface of that version.

mod candidates;
mod elf;
mod error;
mod probe;
mod python;

pub use candidates::{Places, libraries};
pub use error::LibraryError;
pub use python::python_library;

use std::path::{Path, PathBuf};

/// The interface that is used: that of ONNX Runtime 1.17, which every later 1.x has too.
pub(crate) const API: u32 = 17;

/// A library that was checked, and stays loaded until the process ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Library {
    path: PathBuf,
    version: String,
}

impl Library {
    /// Checks a library.
    ///
    /// # Errors
    ///
    /// [`LibraryError`] says which of the things that can be wrong with it is.
    pub fn check(path: &Path) -> Result<Self, LibraryError> {
        // A bare name would be looked for among the system's libraries.
        let path = std::path::absolute(path).map_err(|source| LibraryError::reading(path, source))?;
        elf::check(&path)?;
        let version = probe::version(&path)?;
        Ok(Library { path, version })
    }

    /// The first of `paths` that can be used.
    ///
    /// # Errors
    ///
    /// [`LibraryError::None`] where there is no path, the error where there is one, and [`LibraryError::NoneOf`] with all
    /// of them otherwise.
    pub fn first(paths: &[PathBuf]) -> Result<Self, LibraryError> {
        let mut errors = Vec::new();
        for path in paths {
            match Library::check(path) {
                Ok(library) => return Ok(library),
                Err(error) => errors.push(error),
            }
        }
        match errors.len() {
            0 => Err(LibraryError::None),
            1 => Err(errors.remove(0)),
            _ => Err(LibraryError::NoneOf { errors }),
        }
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its version, for example `1.32.0`.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }
}

#[cfg(test)]
mod tests;
