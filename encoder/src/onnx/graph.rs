//! What a graph asks for and gives.

use std::path::Path;

use ort::session::Session;
use ort::value::{Outlet, TensorElementType, ValueType};

use super::OnnxError;

/// What an input is filled with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Ids,
    Mask,
    Types,
}

/// An input in the graph's order.
#[derive(Clone, Debug)]
pub(super) struct Input {
    pub(super) name: String,
    pub(super) content: Content,
    /// int32 in place of int64.
    pub(super) is_narrow: bool,
}

/// The output that is taken.
#[derive(Clone, Debug)]
pub(super) struct Output {
    pub(super) name: String,
    /// One vector per text, in place of one per token.
    pub(super) is_pooled: bool,
}

/// The outputs that are known, the most wanted first: token vectors are pooled here as the model folder says.
const OUTPUTS: [(&str, bool); 3] =
    [("last_hidden_state", false), ("sentence_embedding", true), ("token_embeddings", false)];

pub(super) fn inputs(path: &Path, session: &Session) -> Result<Vec<Input>, OnnxError> {
    let wrong = || OnnxError::Inputs { path: path.into(), got: list(session.inputs()) };
    let mut inputs = Vec::new();
    for outlet in session.inputs() {
        let content = match outlet.name() {
            "input_ids" => Content::Ids,
            "attention_mask" => Content::Mask,
            "token_type_ids" => Content::Types,
            _ => return Err(wrong()),
        };
        let is_narrow = match outlet.dtype() {
            ValueType::Tensor { ty: TensorElementType::Int64, shape, .. } if is_free(shape) => false,
            ValueType::Tensor { ty: TensorElementType::Int32, shape, .. } if is_free(shape) => true,
            other => {
                return Err(OnnxError::Input { path: path.into(), name: outlet.name().into(), got: other.to_string() });
            }
        };
        inputs.push(Input { name: outlet.name().into(), content, is_narrow });
    }
    let has = |content| inputs.iter().any(|input| input.content == content);
    // Without a mask the padding would be a part of the text.
    if has(Content::Ids) && has(Content::Mask) { Ok(inputs) } else { Err(wrong()) }
}

pub(super) fn output(path: &Path, session: &Session) -> Result<Output, OnnxError> {
    let is_given = |&(name, is_pooled): &(&str, bool)| {
        session.outputs().iter().any(|outlet| outlet.name() == name && is_vectors(outlet.dtype(), is_pooled))
    };
    match OUTPUTS.iter().find(|output| is_given(output)) {
        Some(&(name, is_pooled)) => Ok(Output { name: name.into(), is_pooled }),
        None => Err(OnnxError::Outputs { path: path.into(), got: list(session.outputs()) }),
    }
}

/// `[texts, tokens]`, both as many as there are.
fn is_free(shape: &[i64]) -> bool {
    matches!(shape, [-1, -1])
}

/// A graph need not state the shape of its outputs.
fn is_vectors(value: &ValueType, is_pooled: bool) -> bool {
    match value {
        ValueType::Tensor { ty: TensorElementType::Float32, shape, .. } => {
            shape.is_empty() || shape.len() == if is_pooled { 2 } else { 3 }
        }
        _ => false,
    }
}

fn list(outlets: &[Outlet]) -> String {
    let each = outlets.iter().map(|outlet| format!("{} {}", outlet.name(), outlet.dtype()));
    each.collect::<Vec<_>>().join(", ")
}
