//! CUDA from Python's packages.
//!
//! `pip install onnxruntime-gpu[cuda,cudnn]` puts CUDA's libraries beside ONNX Runtime, in `nvidia/*/lib`, where the system's
//! loader does not look: ONNX Runtime finds them when they are loaded before.

use std::path::{Path, PathBuf};

use super::library::Library;

/// What the CUDA provider is linked to or opens by name, each after what it needs itself.
const NAMES: [&str; 7] = [
    "libcudart.so.",
    "libcublasLt.so.",
    "libcublas.so.",
    "libnvrtc.so.",
    "libcurand.so.",
    "libcufft.so.",
    "libcudnn.so.",
];

/// Loads those that lie beside the library. One that is missing or cannot be loaded is named by ONNX Runtime, which looks
/// for it next.
pub(super) fn preload(library: &Library) {
    for path in beside(library.path()) {
        let _ = ort::util::preload_dylib(path);
    }
}

/// For `…/onnxruntime/capi/libonnxruntime.so`: those in `…/nvidia/*/lib`, in the order of [`NAMES`].
fn beside(library: &Path) -> Vec<PathBuf> {
    let files = |folder: PathBuf| std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let packages = library.ancestors().nth(3).map(|folder| folder.join("nvidia"));
    let mut found: Vec<PathBuf> = packages.into_iter().flat_map(files).flat_map(|one| files(one.join("lib"))).collect();
    found.sort();
    let named =
        |path: &PathBuf, name: &str| path.file_name().is_some_and(|file| file.to_string_lossy().starts_with(name));
    NAMES.iter().flat_map(|name| found.iter().filter(|path| named(path, name)).cloned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_after_what_it_needs() {
        let packages = tempfile::tempdir().unwrap();
        let at = |path: &str| packages.path().join(path);
        let libraries =
            ["nvidia/cudnn/lib/libcudnn.so.9", "nvidia/cu13/lib/libcublas.so.13", "nvidia/cu13/lib/libcublasLt.so.13"];
        for path in libraries.iter().chain(&["nvidia/cu13/lib/libcudart_static.a", "nvidia/cu13/lib/libcudart.so.13"]) {
            std::fs::create_dir_all(at(path).parent().unwrap()).unwrap();
            std::fs::write(at(path), "").unwrap();
        }
        let [cudnn, cublas, cublas_lt] = libraries.map(at);
        let expected = [at("nvidia/cu13/lib/libcudart.so.13"), cublas_lt, cublas, cudnn];
        assert_eq!(beside(&at("onnxruntime/capi/libonnxruntime.so.1.32.0")), expected);
        assert!(beside(Path::new("/libonnxruntime.so")).is_empty());
    }
}
