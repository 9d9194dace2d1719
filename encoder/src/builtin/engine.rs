//! The engine that is built in.

use super::error::NetworkError;
use super::file::WeightFile;
use super::kernels;
use super::lanes::Lanes;
use super::network::{Network, Space};
use super::shape::Shape;
use crate::engine::{Engine, EngineError, Identity};
use crate::model::{Model, ModelError, Pooling};
use crate::pooling::{normalise, pool};
use crate::tokens::Tokens;

/// Tokens that go through the network at a time, but for a single text with more. Larger pieces are not faster, and they
/// cost memory and cache.
const PIECE_TOKENS: usize = 768;

/// BERT and RoBERTa on the processor.
pub struct Builtin {
    identity: Identity,
    network: Network,
    pooling: Pooling,
    normalises: bool,
    lanes: Lanes<Space>,
}

impl std::fmt::Debug for Builtin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Builtin { identity, network, pooling, normalises, lanes } = self;
        f.debug_struct("Builtin")
            .field("identity", identity)
            .field("shape", network.shape())
            .field("pooling", pooling)
            .field("normalises", normalises)
            .field("lanes", &lanes.count())
            .finish()
    }
}

impl Builtin {
    /// Reads the weights of a model, for `lanes` batches at a time (at least one).
    ///
    /// # Errors
    ///
    /// [`ModelError::Network`] where there are no safetensors, where the network is of another family, or where weights and
    /// sizes do not belong together.
    pub fn load(model: &Model, lanes: usize) -> Result<Self, ModelError> {
        let path = |name| model.folder().join(name);
        let weights = model.weights().ok_or_else(|| NetworkError::NoWeights { path: path("model.safetensors") })?;
        let config = model.config().ok_or_else(|| NetworkError::NoConfig { path: path("config.json") })?;
        let shape = Shape::of(config)?;
        let network = Network::read(WeightFile::open(weights)?, shape)?;
        let identity = Identity {
            name: "builtin",
            version: env!("CARGO_PKG_VERSION").into(),
            device: "cpu",
            detail: kernels::instruction_set().into(),
        };
        let (pooling, normalises) = (model.pooling(), model.normalises());
        Ok(Builtin { identity, network, pooling, normalises, lanes: Lanes::new(lanes) })
    }

    fn check(&self, batch: &[&Tokens], out: &[f32]) -> Result<(), EngineError> {
        let expected = batch.len() * self.dim();
        if out.len() != expected {
            return Err(EngineError::Output { expected, got: out.len() });
        }
        let (most, vocabulary) = (self.network.shape().most_tokens(), self.network.shape().vocabulary);
        for (text, Tokens { ids, .. }) in batch.iter().enumerate() {
            if ids.is_empty() || ids.len() > most {
                return Err(EngineError::Tokens { text, tokens: ids.len(), most });
            }
            if let Some(&id) = ids.iter().find(|&&id| id as usize >= vocabulary) {
                return Err(EngineError::Vocabulary { text, id, vocabulary });
            }
        }
        Ok(())
    }
}

impl Engine for Builtin {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn dim(&self) -> usize {
        self.network.shape().hidden
    }

    fn lanes(&self) -> usize {
        self.lanes.count()
    }

    fn encode(&self, batch: &[&Tokens], out: &mut [f32]) -> Result<(), EngineError> {
        self.check(batch, out)?;
        let mut space = self.lanes.take();
        let (mut texts, mut out) = (batch, out);
        while !texts.is_empty() {
            let (piece, rest) = texts.split_at(piece_len(texts));
            let (vectors, after) = out.split_at_mut(piece.len() * self.dim());
            self.network.run(piece, &mut space);
            let mut tokens = space.hidden.as_slice();
            for (text, vector) in piece.iter().zip(vectors.chunks_exact_mut(self.dim())) {
                let (of_text, of_others) = tokens.split_at(text.ids.len() * self.dim());
                pool(self.pooling, of_text, vector);
                if self.normalises {
                    normalise(vector);
                }
                tokens = of_others;
            }
            (texts, out) = (rest, after);
        }
        Ok(())
    }
}

/// How many of the first texts make a piece; at least one.
fn piece_len(texts: &[&Tokens]) -> usize {
    let mut tokens = 0;
    let fit = texts.iter().take_while(|text| {
        tokens += text.ids.len();
        tokens <= PIECE_TOKENS
    });
    fit.count().max(1)
}
