//! Why ONNX Runtime cannot run a model.

use std::path::PathBuf;

use super::library::LibraryError;
use super::provider::Provider;

/// A model that ONNX Runtime cannot run here.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OnnxError {
    /// There is no usable library.
    #[error(transparent)]
    Library(#[from] LibraryError),
    /// The model has no graph.
    #[error("{}: has no model.onnx", folder.display())]
    NoGraph {
        /// The model's folder.
        folder: PathBuf,
    },
    /// The library was not built for the device.
    #[error("{}: ONNX Runtime {version} is not built for {}", path.display(), provider.device())]
    NotCompiledIn {
        /// The library.
        path: PathBuf,
        /// Its version.
        version: String,
        /// For what.
        provider: Provider,
    },
    /// The device is not there, or not as it should be.
    #[error("ONNX Runtime cannot use {}: {what}", provider.device())]
    Device {
        /// The device.
        provider: Provider,
        /// What ONNX Runtime says.
        what: String,
    },
    /// The graph cannot be loaded.
    #[error("{}: {what}", path.display())]
    Graph {
        /// `model.onnx`.
        path: PathBuf,
        /// What ONNX Runtime says.
        what: String,
    },
    /// The graph does not ask for what texts give.
    #[error("{}: asks for {got}; a text encoder asks for input_ids, attention_mask and maybe token_type_ids", path.display())]
    Inputs {
        /// `model.onnx`.
        path: PathBuf,
        /// Its inputs.
        got: String,
    },
    /// An input of another type or shape.
    #[error("{}: the input {name} is {got}, not int64 or int32 of any number of texts and tokens", path.display())]
    Input {
        /// `model.onnx`.
        path: PathBuf,
        /// The input.
        name: String,
        /// Its type and shape.
        got: String,
    },
    /// The graph does not give vectors.
    #[error("{}: gives {got}; needed is float32 last_hidden_state [texts, tokens, dim] or sentence_embedding [texts, dim]", path.display())]
    Outputs {
        /// `model.onnx`.
        path: PathBuf,
        /// Its outputs.
        got: String,
    },
    /// Graph and settings are of two models.
    #[error("{}: gives vectors of {got} columns, where config.json says {expected}", path.display())]
    Dim {
        /// `model.onnx`.
        path: PathBuf,
        /// Columns by `config.json`.
        expected: usize,
        /// Columns of the graph.
        got: usize,
    },
    /// The graph does not run.
    #[error("{}: does not run on {}: {what}", path.display(), provider.device())]
    Run {
        /// `model.onnx`.
        path: PathBuf,
        /// The device.
        provider: Provider,
        /// What ONNX Runtime says.
        what: String,
    },
}

impl OnnxError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            OnnxError::Library(source) => source.hint(),
            OnnxError::NoGraph { folder } => format!(
                "export it: python scripts/export_onnx.py --model {} --output DIR, or use the engine that is built in: \
                 --engine builtin",
                folder.display()
            ),
            OnnxError::NotCompiledIn { provider, .. } | OnnxError::Device { provider, .. } => {
                format!("{}; or use another: --device cpu", provider.requirement())
            }
            OnnxError::Graph { .. } => {
                "the file is damaged, or made for a newer ONNX Runtime: export it again, or pip install --upgrade onnxruntime"
                    .into()
            }
            OnnxError::Inputs { .. } | OnnxError::Input { .. } | OnnxError::Outputs { .. } => {
                "export the model again with scripts/export_onnx.py, or name another: --model DIR".into()
            }
            OnnxError::Dim { .. } => "take model.onnx and config.json from one model".into(),
            OnnxError::Run { .. } => "use the engine that is built in: --engine builtin, or another device: --device cpu".into(),
        }
    }
}

/// What ONNX Runtime says, on one line and without the place in its own source.
pub(super) fn said<R>(error: &ort::Error<R>) -> String {
    one_line(error.message())
}

/// `/src/file.cc:12 void f() [ONNXRuntimeError] : 1 : FAIL : it does not work` → `it does not work`
fn one_line(message: &str) -> String {
    let what = match message.rsplit_once("[ONNXRuntimeError] : ") {
        Some((_, rest)) => rest.splitn(3, " : ").nth(2).unwrap_or(rest),
        None => message,
    };
    what.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::one_line;

    #[test]
    fn the_place_in_the_source_is_left_out() {
        let message = "/onnxruntime_src/bridge.cc:2043 P& L::Get() [ONNXRuntimeError] : 1 : FAIL : Failed to load a.so with error: \
                       b.so: cannot open : at all\n";
        assert_eq!(one_line(message), "Failed to load a.so with error: b.so: cannot open : at all");
        assert_eq!(one_line("no\n  such thing\n"), "no such thing");
        assert_eq!(one_line("[ONNXRuntimeError] : odd"), "odd");
    }
}
