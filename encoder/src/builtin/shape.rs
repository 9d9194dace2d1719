//! The sizes of the network, and what of `config.json` is not computed here.

use super::activation::Activation;
use super::error::NetworkError;
use crate::model::Config;

/// The sizes of a network.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) hidden: usize,
    pub(super) layers: usize,
    pub(super) heads: usize,
    pub(super) intermediate: usize,
    pub(super) vocabulary: usize,
    pub(super) positions: usize,
    pub(super) types: usize,
    /// The position of a text's first token.
    pub(super) first_position: usize,
    pub(super) epsilon: f32,
    pub(super) activation: Activation,
}

impl Shape {
    pub(super) fn of(config: &Config) -> Result<Self, NetworkError> {
        let path = || config.path().to_path_buf();
        let refuse = |field, value: &str| NetworkError::Unsupported { path: path(), field, value: value.into() };
        let count = |field| match config.count(field) {
            Some(count) if (1..=1 << 24).contains(&count) => Ok(count),
            _ => Err(NetworkError::Field { path: path(), field }),
        };
        let first_position = match config.family() {
            "bert" => 0,
            "roberta" | "xlm-roberta" | "camembert" => config.count("pad_token_id").unwrap_or(1) + 1,
            other => return Err(refuse("model_type", other)),
        };
        match config.text("position_embedding_type") {
            None | Some("absolute") => {}
            Some(other) => return Err(refuse("position_embedding_type", other)),
        }
        if config.flag("is_decoder") {
            return Err(refuse("is_decoder", "true"));
        }
        let activation = config.text("hidden_act").unwrap_or("gelu");
        let activation = Activation::named(activation).ok_or_else(|| refuse("hidden_act", activation))?;
        let (hidden, heads) = (count("hidden_size")?, count("num_attention_heads")?);
        if !hidden.is_multiple_of(heads) {
            return Err(NetworkError::Heads { path: path(), heads, hidden });
        }
        let positions = count("max_position_embeddings")?;
        if positions <= first_position {
            return Err(NetworkError::Field { path: path(), field: "max_position_embeddings" });
        }
        Ok(Shape {
            hidden,
            layers: count("num_hidden_layers")?,
            heads,
            intermediate: count("intermediate_size")?,
            vocabulary: count("vocab_size")?,
            positions,
            types: count("type_vocab_size")?,
            first_position,
            epsilon: config.number("layer_norm_eps").unwrap_or(1e-12) as f32,
            activation,
        })
    }

    /// How many tokens a text may have.
    pub(super) fn most_tokens(&self) -> usize {
        self.positions - self.first_position
    }
}
