//! Where a library of ONNX Runtime may lie.

use std::path::{Path, PathBuf};

use super::{LibraryError, python_library};

/// What is known of this machine that matters for finding a library.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// The one that the user names (`ORT_DYLIB_PATH`); it and no other is taken.
    pub named: Option<PathBuf>,
    /// The program itself: a library may lie beside it, or in `../lib`.
    pub executable: Option<PathBuf>,
    /// Interpreters that may have the package onnxruntime, in order; each is run.
    pub pythons: Vec<PathBuf>,
}

/// The libraries to try, in order, and why an interpreter gave none.
#[must_use]
pub fn libraries(places: &Places) -> (Vec<PathBuf>, Vec<LibraryError>) {
    if let Some(named) = &places.named {
        return (vec![named.clone()], Vec::new());
    }
    let mut found = Vec::new();
    if let Some(folder) = places.executable.as_deref().and_then(Path::parent) {
        found.extend(in_folder(folder));
        found.extend(in_folder(&folder.join("../lib")));
    }
    let mut errors = Vec::new();
    for python in &places.pythons {
        match python_library(python) {
            Ok(library) if !found.contains(&library) => found.push(library),
            Ok(_) => {}
            Err(error) => errors.push(error),
        }
    }
    (found, errors)
}

/// The libraries in a folder: `libonnxruntime.so`, `libonnxruntime.so.1.32.0`, `libonnxruntime.1.32.0.dylib`; the shortest
/// name first, since that is what the others are linked to.
pub(super) fn in_folder(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| is_library(path)).collect();
    found.sort_by_key(|path| (path.as_os_str().len(), path.clone()));
    found
}

fn is_library(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("");
    let rest = match cfg!(target_os = "macos") {
        true => name.strip_prefix("libonnxruntime.").and_then(|rest| rest.strip_suffix("dylib")),
        false => name.strip_prefix("libonnxruntime.so"),
    };
    rest.is_some_and(|rest| rest.bytes().all(|byte| byte == b'.' || byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn beside_the_program() {
        let folder = tempfile::tempdir().unwrap();
        let (bin, lib) = (folder.path().join("bin"), folder.path().join("lib"));
        for (place, names) in [
            (
                &bin,
                vec!["libonnxruntime.so.1.32.0", "libonnxruntime.so", "libonnxruntime_providers_cuda.so", "libz.so.1"],
            ),
            (&lib, vec!["libonnxruntime.so.1", "libonnxruntime.so.bak"]),
        ] {
            std::fs::create_dir(place).unwrap();
            names.iter().for_each(|name| std::fs::write(place.join(name), "").unwrap());
        }
        let mut places = Places { executable: Some(bin.join("embstore")), ..Places::default() };
        let beside = [
            bin.join("libonnxruntime.so"),
            bin.join("libonnxruntime.so.1.32.0"),
            bin.join("../lib/libonnxruntime.so.1"),
        ];
        assert_eq!(libraries(&places).0, beside);
        places.named = Some("/named.so".into());
        assert_eq!(libraries(&places).0, [Path::new("/named.so")]);
    }

    #[test]
    fn nothing_known_is_nothing_found() {
        let (found, errors) = libraries(&Places { pythons: vec!["/nowhere/python3".into()], ..Places::default() });
        assert!(found.is_empty());
        assert!(matches!(errors.as_slice(), [LibraryError::Python { .. }]));
    }
}
