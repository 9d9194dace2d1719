//! The trial, with engines that are not as they should be.

use std::path::Path;

use super::error::Unfit;
use super::trial::{Reference, Trial};
use crate::engine::{Engine, EngineError, Identity};
use crate::tokens::Tokens;

/// Writes what it is told to, whatever the text.
struct Fake {
    identity: Identity,
    vector: fn(usize) -> [f32; 2],
    fails: bool,
}

fn fake(vector: fn(usize) -> [f32; 2]) -> Fake {
    let identity = Identity { name: "fake", version: String::new(), device: "cuda", detail: String::new() };
    Fake { identity, vector, fails: false }
}

impl Engine for Fake {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn dim(&self) -> usize {
        2
    }

    fn lanes(&self) -> usize {
        1
    }

    fn encode(&self, batch: &[&Tokens], out: &mut [f32]) -> Result<(), EngineError> {
        assert_eq!(out.len(), batch.len() * 2);
        if self.fails {
            return Err(EngineError::Encode { engine: "fake", device: "cuda", what: "out of memory".into() });
        }
        (0..batch.len()).for_each(|text| out[2 * text..][..2].copy_from_slice(&(self.vector)(text)));
        Ok(())
    }
}

fn trial() -> Trial {
    Trial::of((1..=12).map(|length| Tokens { ids: vec![7; length], truncated: false }).collect())
}

fn reference() -> Reference {
    Reference { by: "built-in engine", dim: 2, vectors: [0.6, 0.8].repeat(12) }
}

#[test]
fn the_same_vectors_pass_and_nearly_the_same() {
    assert!(trial().compare(&fake(|_| [0.6, 0.8]), &reference()).unwrap() > 0.999_999_9);
    let cosine = trial().compare(&fake(|text| if text == 5 { [0.605, 0.796] } else { [0.6, 0.8] }), &reference());
    assert!((0.9999..0.99999).contains(&cosine.unwrap()));
}

#[test]
fn other_vectors_do_not_pass_and_the_worst_text_is_named() {
    let error = trial().compare(&fake(|text| if text == 5 { [0.62, 0.78] } else { [0.6, 0.8] }), &reference());
    assert!(matches!(error, Err(Unfit::Disagrees { text: 5, .. })), "{error:?}");
    let error = trial().compare(&fake(|text| if text == 3 { [0.0, 0.0] } else { [0.6, 0.8] }), &reference());
    assert!(matches!(error, Err(Unfit::Disagrees { text: 3, cosine: 0.0, .. })), "{error:?}");
}

#[test]
fn what_is_no_number_does_not_pass() {
    for value in [f32::NAN, f32::INFINITY] {
        let vector = if value.is_nan() { |text| [[0.6, f32::NAN][text / 11], 0.8] } else { |_| [f32::INFINITY, 0.8] };
        let error = trial().compare(&fake(vector), &reference());
        assert!(matches!(error, Err(Unfit::NotFinite { .. })), "{error:?}");
    }
}

#[test]
fn failing_and_another_width_do_not_pass() {
    let error = trial().compare(&Fake { fails: true, ..fake(|_| [0.6, 0.8]) }, &reference());
    assert!(matches!(error, Err(Unfit::Engine(_))), "{error:?}");
    let wide = Reference { dim: 3, vectors: vec![1.0; 36], ..reference() };
    let error = trial().compare(&fake(|_| [0.6, 0.8]), &wide);
    assert!(matches!(error, Err(Unfit::Dim { expected: 3, got: 2, .. })), "{error:?}");
}

#[test]
fn a_dozen_texts_of_all_lengths() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/minilm");
    let Ok(model) = crate::Model::open(&folder, None) else {
        assert!(std::env::var_os("CI").is_none(), "no model in CI");
        return eprintln!("⚠ NOT RUN: no models/minilm: scripts/fetch_model.sh fetches it");
    };
    let lengths = Trial::new(&model).unwrap().lengths();
    assert_eq!((lengths.len(), lengths.iter().min(), lengths.iter().max()), (12, Some(&2), Some(&256)));
}
