//! The engine over ONNX Runtime.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use ort::environment::Environment;
use ort::session::{HasSelectedOutputs, OutputSelector, RunOptions, Session};

use super::error::said;
use super::feed::{Padded, feed};
use super::graph::{self, Input, Output};
use super::library::Library;
use super::provider::Provider;
use super::{OnnxError, cuda, runtime};
use crate::engine::{Engine, EngineError, Identity};
use crate::model::{Config, Model, Pooling};
use crate::pooling::{normalise, pool};
use crate::tokens::Tokens;

/// A graph in ONNX Runtime. It takes one batch at a time and spreads it over its threads.
pub struct Onnx {
    identity: Identity,
    inputs: Vec<Input>,
    output: Output,
    pooling: Pooling,
    normalises: bool,
    /// The token that shorter texts are filled up with.
    pad: u32,
    most_tokens: usize,
    vocabulary: usize,
    dim: usize,
    lane: Mutex<Lane>,
}

struct Lane {
    session: Session,
    /// Which output is computed.
    options: RunOptions<HasSelectedOutputs>,
}

impl std::fmt::Debug for Onnx {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Onnx { identity, inputs, output, pooling, normalises, dim, .. } = self;
        f.debug_struct("Onnx")
            .field("identity", identity)
            .field("inputs", inputs)
            .field("output", output)
            .field("pooling", pooling)
            .field("normalises", normalises)
            .field("dim", dim)
            .finish_non_exhaustive()
    }
}

impl Onnx {
    /// Loads the graph of a model, to be computed by `threads` threads (at least one), and runs it once.
    ///
    /// # Errors
    ///
    /// [`OnnxError`]: there is no graph, it is not one of a text encoder, the device is not there, or another library is in
    /// use in this process.
    pub fn load(model: &Model, library: &Library, provider: Provider, threads: usize) -> Result<Self, OnnxError> {
        let path = model.graph().ok_or_else(|| OnnxError::NoGraph { folder: model.folder().into() })?;
        let environment = runtime::environment(library)?;
        if !provider.is_compiled_in() {
            let (path, version) = (library.path().into(), library.version().into());
            return Err(OnnxError::NotCompiledIn { path, version, provider });
        }
        if provider == Provider::Cuda {
            cuda::preload(library);
        }
        let session = open(&environment, path, provider, threads.max(1))?;
        let (inputs, output) = (graph::inputs(path, &session)?, graph::output(path, &session)?);
        let run = |what: String| OnnxError::Run { path: path.into(), provider, what };
        let selected = OutputSelector::no_default().with(&output.name);
        let options = RunOptions::new().map_err(|error| run(said(&error)))?.with_outputs(selected);
        let count = |field| model.config().and_then(|config| config.count(field));
        let mut onnx = Onnx {
            identity: Identity {
                name: "onnx",
                version: library.version().into(),
                device: provider.device(),
                detail: provider.detail(),
            },
            inputs,
            output,
            pooling: model.pooling(),
            normalises: model.normalises(),
            pad: count("pad_token_id").and_then(|pad| u32::try_from(pad).ok()).unwrap_or(0),
            most_tokens: model.config().and_then(Config::positions).unwrap_or(usize::MAX),
            vocabulary: count("vocab_size").unwrap_or(usize::MAX),
            dim: 0,
            lane: Mutex::new(Lane { session, options }),
        };
        let shortest = model.tokenizer().encode("").map_err(|error| run(error.to_string()))?;
        onnx.dim = onnx.run(&[&shortest], |shape, _| shape.last().copied().unwrap_or(0)).map_err(run)?;
        match model.dim() {
            Some(expected) if expected != onnx.dim && !onnx.output.is_pooled => {
                Err(OnnxError::Dim { path: path.into(), expected, got: onnx.dim })
            }
            _ => Ok(onnx),
        }
    }

    /// Runs the graph and hands its vectors, with their shape, to `take`.
    fn run<T>(&self, batch: &[&Tokens], take: impl FnOnce(&[usize], &[f32]) -> T) -> Result<T, String> {
        let padded = Padded::new(batch, self.pad);
        let (texts, tokens) = (padded.texts, padded.tokens);
        let inputs = feed(&self.inputs, &padded).map_err(|error| said(&error))?;
        let mut lane = self.lane.lock().unwrap_or_else(PoisonError::into_inner);
        let Lane { session, options } = &mut *lane;
        let outputs = session.run_with_options(inputs, options).map_err(|error| said(&error))?;
        let vectors = outputs.get(&self.output.name).ok_or_else(|| format!("no output {}", self.output.name))?;
        let (shape, values) = vectors.try_extract_tensor::<f32>().map_err(|error| said(&error))?;
        let shape: Vec<usize> = shape.iter().map(|&size| usize::try_from(size).unwrap_or(0)).collect();
        let fits = match (self.output.is_pooled, shape.as_slice()) {
            (true, &[rows, dim]) => rows == texts && dim > 0,
            (false, &[rows, columns, dim]) => rows == texts && columns == tokens && dim > 0,
            _ => false,
        };
        match fits {
            true => Ok(take(&shape, values)),
            false => Err(format!("{} has the shape {shape:?} for {texts} texts of {tokens} tokens", self.output.name)),
        }
    }

    fn check(&self, batch: &[&Tokens], out: &[f32]) -> Result<(), EngineError> {
        let expected = batch.len() * self.dim;
        if out.len() != expected {
            return Err(EngineError::Output { expected, got: out.len() });
        }
        for (text, Tokens { ids, .. }) in batch.iter().enumerate() {
            if ids.is_empty() || ids.len() > self.most_tokens {
                return Err(EngineError::Tokens { text, tokens: ids.len(), most: self.most_tokens });
            }
            if let Some(&id) = ids.iter().find(|&&id| id as usize >= self.vocabulary) {
                return Err(EngineError::Vocabulary { text, id, vocabulary: self.vocabulary });
            }
        }
        Ok(())
    }
}

impl Engine for Onnx {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn dim(&self) -> usize {
        self.dim
    }

    fn lanes(&self) -> usize {
        1
    }

    fn encode(&self, batch: &[&Tokens], out: &mut [f32]) -> Result<(), EngineError> {
        self.check(batch, out)?;
        if batch.is_empty() {
            return Ok(());
        }
        let failed = |what| EngineError::Encode { engine: "onnx", device: self.identity.device, what };
        let dim = self.dim;
        let done = self.run(batch, |shape, values| {
            if shape.last() != Some(&dim) {
                return Err(format!(
                    "{} has the shape {shape:?} where {dim} columns were seen before",
                    self.output.name
                ));
            }
            if self.output.is_pooled {
                out.copy_from_slice(values);
                return Ok(());
            }
            let by_text = values.chunks_exact(values.len() / batch.len());
            for ((text, vectors), out) in batch.iter().zip(by_text).zip(out.chunks_exact_mut(dim)) {
                pool(self.pooling, &vectors[..text.ids.len() * dim], out);
                if self.normalises {
                    normalise(out);
                }
            }
            Ok(())
        });
        done.and_then(|pooled| pooled).map_err(failed)
    }
}

fn open(environment: &Environment, path: &Path, provider: Provider, threads: usize) -> Result<Session, OnnxError> {
    let device = |what: String| OnnxError::Device { provider, what };
    let builder = Session::builder(environment).map_err(|error| device(said(&error)))?;
    let builder = builder.with_execution_providers(provider.dispatch()).map_err(|error| device(said(&error)))?;
    let builder = builder.with_intra_threads(threads).map_err(|error| device(said(&error)))?;
    // It would keep a plan of the memory for each shape, and nearly every batch has its own.
    let mut builder = builder.with_memory_pattern(false).map_err(|error| device(said(&error)))?;
    builder.commit_from_file(path).map_err(|error| OnnxError::Graph { path: path.into(), what: said(&error) })
}
