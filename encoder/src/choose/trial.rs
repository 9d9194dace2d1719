//! The batch that an engine has to encode before it is trusted with work.

use super::error::Unfit;
use crate::engine::Engine;
use crate::model::Model;
use crate::tokens::Tokens;

/// The least cosine between an engine's vectors and those of another. Float32 in another order gives 0.999999 and better;
/// TF32 and half precision fall below.
const MIN_COSINE: f64 = 0.9999;

/// A dozen, of all lengths and some scripts, so that most rows of the batch are padded.
const TEXTS: [&str; 6] = [
    "",
    "cat",
    "a feline mammal usually having thick soft fur and no ability to roar",
    "The quick brown fox jumps over the lazy dog, twice; then it sleeps.",
    "Größenordnung, naïve Łódź: 東京は日本の首都です。 42.195 km",
    "def mean(values): return sum(values) / len(values)  # raises ZeroDivisionError on an empty list",
];

/// The tokens of the trial's texts.
pub(super) struct Trial {
    tokens: Vec<Tokens>,
}

/// What another engine made of them.
pub(super) struct Reference {
    /// Which one.
    pub(super) by: &'static str,
    pub(super) dim: usize,
    /// Row-major `[texts, dim]`.
    pub(super) vectors: Vec<f32>,
}

impl Trial {
    pub(super) fn new(model: &Model) -> Result<Self, Unfit> {
        let long = (1..=6).map(|times| TEXTS[2..].join(" ").repeat(times));
        let texts = TEXTS.iter().map(|&text| text.to_owned()).chain(long);
        let tokens = texts.map(|text| model.tokenizer().encode(&text)).collect::<Result<Vec<_>, _>>()?;
        // A tokenizer without special tokens makes none of an empty text, which no engine takes.
        let tokens = tokens.into_iter().filter(|text| !text.ids.is_empty()).collect();
        Ok(Trial { tokens })
    }

    #[cfg(test)]
    pub(super) fn of(tokens: Vec<Tokens>) -> Self {
        Trial { tokens }
    }

    #[cfg(test)]
    pub(super) fn lengths(&self) -> Vec<usize> {
        self.tokens.iter().map(|text| text.ids.len()).collect()
    }

    /// Encodes the batch; all values must be finite.
    pub(super) fn run(&self, engine: &dyn Engine) -> Result<Vec<f32>, Unfit> {
        let batch: Vec<&Tokens> = self.tokens.iter().collect();
        let mut vectors = vec![0.0; batch.len() * engine.dim()];
        engine.encode(&batch, &mut vectors)?;
        let mut rows = vectors.chunks_exact(engine.dim().max(1));
        match rows.position(|row| row.iter().any(|value| !value.is_finite())) {
            Some(text) => Err(Unfit::NotFinite { text }),
            None => Ok(vectors),
        }
    }

    /// Encodes the batch and compares; returns the smallest cosine.
    pub(super) fn compare(&self, engine: &dyn Engine, reference: &Reference) -> Result<f64, Unfit> {
        let (by, expected, got) = (reference.by, reference.dim, engine.dim());
        if expected != got {
            return Err(Unfit::Dim { expected, got, by });
        }
        let vectors = self.run(engine)?;
        let rows = vectors.chunks_exact(got).zip(reference.vectors.chunks_exact(got)).enumerate();
        let mut least = (0, f64::INFINITY);
        for (text, (ours, theirs)) in rows {
            let cosine = cosine(ours, theirs);
            if cosine < least.1 {
                least = (text, cosine);
            }
        }
        match least {
            (_, cosine) if cosine >= MIN_COSINE => Ok(cosine),
            (text, cosine) => Err(Unfit::Disagrees { text, cosine, by }),
        }
    }
}

/// In float64; 0 where one of them is zero.
fn cosine(ours: &[f32], theirs: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
    let lengths = (dot(ours, ours) * dot(theirs, theirs)).sqrt();
    if lengths > 0.0 { dot(ours, theirs) / lengths } else { 0.0 }
}
