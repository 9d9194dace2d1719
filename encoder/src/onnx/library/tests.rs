use std::path::{Path, PathBuf};
use std::process::Command;

use super::*;

/// Compiles a shared library from C; the compiler is one that the project needs anyway.
fn compile(folder: &Path, name: &str, source: &str, arguments: &[&str]) -> PathBuf {
    let (input, output) = (folder.join(format!("{name}.c")), folder.join(format!("lib{name}.so")));
    std::fs::write(&input, source).unwrap();
    let mut cc = Command::new("cc");
    cc.args(["-shared", "-fPIC", "-o"]).arg(&output).arg(&input).args(arguments);
    assert!(cc.status().unwrap().success());
    output
}

/// Something that says it is ONNX Runtime of a version.
fn stub(version: &str, api: &str) -> String {
    format!(
        "#include <stdint.h>
        static const void *get_api(uint32_t version) {{ return {api}; }}
        static const char *get_version(void) {{ return {version}; }}
        static const struct {{ const void *(*api)(uint32_t); const char *(*version)(void); }} base = {{get_api, get_version}};
        const void *OrtGetApiBase(void) {{ return &base; }}"
    )
}

fn error(path: &Path) -> LibraryError {
    let error = Library::check(path).unwrap_err();
    assert!(error.to_string().contains(path.file_name().unwrap().to_str().unwrap()), "{error}");
    assert!(!error.hint().is_empty());
    error
}

#[test]
fn one_that_has_the_interface_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    let path = compile(folder.path(), "good", &stub("\"1.17.3\"", "version <= 17 ? (void *)1 : 0"), &[]);
    let library = Library::check(&path).unwrap();
    assert_eq!((library.version(), library.path()), ("1.17.3", path.as_path()));
    let missing = folder.path().join("missing.so");
    assert_eq!(Library::first(&[missing.clone(), path]).unwrap(), library);
    assert!(matches!(Library::first(&[missing]), Err(LibraryError::Missing { .. })));
    assert!(matches!(Library::first(&[]), Err(LibraryError::None)));
}

#[test]
fn an_old_one_is_refused_by_its_version() {
    let folder = tempfile::tempdir().unwrap();
    let path = compile(folder.path(), "old", &stub("\"1.16.3\"", "0"), &[]);
    let error = error(&path);
    assert!(matches!(&error, LibraryError::Version { found, .. } if found == "1.16.3"), "{error}");
    assert!(error.to_string().ends_with("is ONNX Runtime 1.16.3; needed is 1.17 or a later 1.x"));
    assert_eq!(error.hint(), "pip install --upgrade onnxruntime");
}

#[test]
fn one_that_answers_nothing_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let without = compile(folder.path(), "interface", &stub("\"1.20.0\"", "0"), &[]);
    assert!(matches!(error(&without), LibraryError::NoInterface { .. }));
    let nameless = compile(folder.path(), "nameless", &stub("0", "0"), &[]);
    assert!(matches!(error(&nameless), LibraryError::NotOnnxRuntime { .. }));
    let null = compile(folder.path(), "null", "const void *OrtGetApiBase(void) { return 0; }", &[]);
    assert!(matches!(error(&null), LibraryError::NotOnnxRuntime { .. }));
    let other = compile(folder.path(), "other", "int deflate(void) { return 0; }", &[]);
    assert!(matches!(error(&other), LibraryError::NotOnnxRuntime { .. }));
}

#[test]
fn what_it_needs_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let needed = compile(folder.path(), "needed", "int needed(void) { return 0; }", &[]);
    let needed_by = stub("\"1.20.0\"", "(void *)1") + "\nint needed(void); int use(void) { return needed(); }";
    let there = format!("-L{}", folder.path().display());
    let path = compile(folder.path(), "needy", &needed_by, &[&there, "-lneeded"]);
    std::fs::remove_file(needed).unwrap();
    let error = error(&path);
    if cfg!(target_os = "linux") {
        assert!(matches!(&error, LibraryError::Dependency { needs, .. } if needs == "libneeded.so"), "{error}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_damaged_file_is_not_loaded() {
    let folder = tempfile::tempdir().unwrap();
    let whole = std::fs::read(compile(folder.path(), "whole", &stub("\"1.20.0\"", "(void *)1"), &[])).unwrap();
    let path = folder.path().join("damaged.so");
    let of = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        error(&path)
    };
    assert!(matches!(of(b""), LibraryError::NotALibrary { .. }));
    assert!(matches!(of(b"/* GNU ld script */ INPUT(libonnxruntime.so.1)"), LibraryError::NotALibrary { .. }));
    for length in [5, 63, 64, 200, 4096, whole.len() / 2] {
        let error = of(&whole[..length]);
        assert!(matches!(&error, LibraryError::Truncated { got, .. } if *got == length as u64), "{length}: {error}");
    }
    let changed = |at: usize, byte: u8| {
        let mut bytes = whole.clone();
        bytes[at] = byte;
        of(&bytes)
    };
    assert!(matches!(changed(18, 243), LibraryError::Architecture { got, .. } if got == "riscv64"));
    assert!(matches!(changed(4, 1), LibraryError::Architecture { .. }));
    assert!(matches!(changed(16, 2), LibraryError::NotALibrary { .. }));
    assert!(matches!(error(folder.path()), LibraryError::NotALibrary { .. }));
}
