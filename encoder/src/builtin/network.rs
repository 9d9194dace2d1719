//! The weights, and the way of a piece through them.

use super::attention::{self, Panels};
use super::error::NetworkError;
use super::file::WeightFile;
use super::kernels;
use super::matmul::add_product;
use super::shape::Shape;
use crate::tokens::Tokens;

/// Rows that go through the second half of a layer at a time: few enough that what lies between its two products stays in
/// the processor's cache.
const BLOCK_ROWS: usize = 192;

/// A network, ready to run.
pub(super) struct Network {
    shape: Shape,
    /// `[vocabulary, hidden]`.
    words: Vec<f32>,
    /// `[positions, hidden]`, from the first token's position on; the vector of the only token type is added.
    positions: Vec<f32>,
    norm: Norm,
    layers: Vec<Layer>,
}

struct Layer {
    /// Query, key and value side by side: `[hidden, 3 hidden]`.
    qkv: Linear,
    attended: Linear,
    attended_norm: Norm,
    intermediate: Linear,
    output: Linear,
    output_norm: Norm,
}

/// y = x W + b, with W as `[from, to]`.
struct Linear {
    weight: Vec<f32>,
    bias: Vec<f32>,
}

struct Norm {
    scale: Vec<f32>,
    shift: Vec<f32>,
}

/// Work space of one lane.
#[derive(Debug, Default)]
pub(super) struct Space {
    /// `[tokens, hidden]`: what goes into a layer and comes out of it.
    pub(super) hidden: Vec<f32>,
    /// `[tokens, 3 hidden]`.
    qkv: Vec<f32>,
    /// `[tokens, hidden]`.
    context: Vec<f32>,
    /// `[BLOCK_ROWS, hidden]`.
    attended: Vec<f32>,
    /// `[BLOCK_ROWS, intermediate]`.
    intermediate: Vec<f32>,
    panels: Panels,
}

impl Network {
    pub(super) fn read(mut file: WeightFile, shape: Shape) -> Result<Self, NetworkError> {
        let hidden = shape.hidden;
        let words = "embeddings.word_embeddings.weight";
        file.choose_prefix(words, &["", "bert.", "roberta."]);
        let words = file.tensor(words, &[shape.vocabulary, hidden])?;
        let mut positions = file.tensor("embeddings.position_embeddings.weight", &[shape.positions, hidden])?;
        positions.drain(..shape.first_position * hidden);
        let types = file.tensor("embeddings.token_type_embeddings.weight", &[shape.types, hidden])?;
        for row in positions.chunks_exact_mut(hidden) {
            row.iter_mut().zip(&types).for_each(|(value, only)| *value += only);
        }
        let norm = Norm::read(&mut file, "embeddings.LayerNorm", hidden)?;
        let layers = (0..shape.layers).map(|index| Layer::read(&mut file, index, &shape)).collect::<Result<_, _>>()?;
        Ok(Network { shape, words, positions, norm, layers })
    }

    pub(super) fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Leaves the vectors of all tokens of `texts`, one text after another, in `space.hidden`.
    pub(super) fn run(&self, texts: &[&Tokens], space: &mut Space) {
        let tokens = texts.iter().map(|text| text.ids.len()).sum::<usize>();
        let hidden = self.shape.hidden;
        self.embed(texts, &mut space.hidden);
        kernels::layer_norm(&mut space.hidden, &self.norm.scale, &self.norm.shift, self.shape.epsilon);
        space.context.resize(tokens * hidden, 0.0);
        for layer in &self.layers {
            space.qkv.resize(tokens * 3 * hidden, 0.0);
            layer.qkv.apply(&space.hidden, &mut space.qkv);
            let mut first = 0;
            for text in texts {
                let rows = first..first + text.ids.len();
                first = rows.end;
                let qkv = &space.qkv[rows.start * 3 * hidden..rows.end * 3 * hidden];
                let context = &mut space.context[rows.start * hidden..rows.end * hidden];
                attention::attend(qkv, hidden, self.shape.heads, context, &mut space.panels);
            }
            layer.finish(&self.shape, space);
        }
    }

    fn embed(&self, texts: &[&Tokens], out: &mut Vec<f32>) {
        let hidden = self.shape.hidden;
        out.clear();
        for text in texts {
            for (id, position) in text.ids.iter().zip(self.positions.chunks_exact(hidden)) {
                let word = &self.words[*id as usize * hidden..][..hidden];
                out.extend(word.iter().zip(position).map(|(word, position)| word + position));
            }
        }
    }
}

impl Layer {
    fn read(file: &mut WeightFile, index: usize, shape: &Shape) -> Result<Self, NetworkError> {
        let (hidden, intermediate) = (shape.hidden, shape.intermediate);
        let name = |part: &str| format!("encoder.layer.{index}.{part}");
        Ok(Layer {
            qkv: Linear::read(
                file,
                &["query", "key", "value"].map(|part| name(&format!("attention.self.{part}"))),
                hidden,
                hidden,
            )?,
            attended: Linear::read(file, &[name("attention.output.dense")], hidden, hidden)?,
            attended_norm: Norm::read(file, &name("attention.output.LayerNorm"), hidden)?,
            intermediate: Linear::read(file, &[name("intermediate.dense")], hidden, intermediate)?,
            output: Linear::read(file, &[name("output.dense")], intermediate, hidden)?,
            output_norm: Norm::read(file, &name("output.LayerNorm"), hidden)?,
        })
    }

    /// All that follows attention, block by block: from `space.context` and `space.hidden` to `space.hidden`.
    fn finish(&self, shape: &Shape, space: &mut Space) {
        let block = BLOCK_ROWS * shape.hidden;
        for (hidden, context) in space.hidden.chunks_mut(block).zip(space.context.chunks(block)) {
            let rows = hidden.len() / shape.hidden;
            let attended = resized(&mut space.attended, hidden.len());
            self.attended.apply_onto(context, hidden, attended);
            kernels::layer_norm(attended, &self.attended_norm.scale, &self.attended_norm.shift, shape.epsilon);
            let intermediate = resized(&mut space.intermediate, rows * shape.intermediate);
            self.intermediate.apply(attended, intermediate);
            shape.activation.apply(intermediate);
            self.output.apply_onto(intermediate, attended, hidden);
            kernels::layer_norm(hidden, &self.output_norm.scale, &self.output_norm.shift, shape.epsilon);
        }
    }
}

impl Linear {
    /// Reads one or several of equal size whose results stand side by side. The file has weights as `[to, from]`.
    fn read(file: &mut WeightFile, names: &[String], from: usize, to: usize) -> Result<Self, NetworkError> {
        let columns = names.len() * to;
        let mut weight = vec![0.0; from * columns];
        let mut bias = Vec::with_capacity(columns);
        for (part, name) in names.iter().enumerate() {
            let rows = file.tensor(&format!("{name}.weight"), &[to, from])?;
            for (row, values) in rows.chunks_exact(from).enumerate() {
                for (value, into) in values.iter().zip(weight.chunks_exact_mut(columns)) {
                    into[part * to + row] = *value;
                }
            }
            bias.extend(file.tensor(&format!("{name}.bias"), &[to])?);
        }
        Ok(Linear { weight, bias })
    }

    /// `out = x W + b`.
    fn apply(&self, x: &[f32], out: &mut [f32]) {
        for row in out.chunks_exact_mut(self.bias.len()) {
            row.copy_from_slice(&self.bias);
        }
        self.multiply(x, out);
    }

    /// `out = x W + b + residual`.
    fn apply_onto(&self, x: &[f32], residual: &[f32], out: &mut [f32]) {
        let columns = self.bias.len();
        for (row, residual) in out.chunks_exact_mut(columns).zip(residual.chunks_exact(columns)) {
            for ((value, bias), residual) in row.iter_mut().zip(&self.bias).zip(residual) {
                *value = bias + residual;
            }
        }
        self.multiply(x, out);
    }

    fn multiply(&self, x: &[f32], out: &mut [f32]) {
        let to = self.bias.len();
        add_product(x, &self.weight, out, out.len() / to, self.weight.len() / to, to);
    }
}

impl Norm {
    fn read(file: &mut WeightFile, name: &str, hidden: usize) -> Result<Self, NetworkError> {
        let scale = file.tensor(&format!("{name}.weight"), &[hidden])?;
        Ok(Norm { scale, shift: file.tensor(&format!("{name}.bias"), &[hidden])? })
    }
}

/// The first `len` values of `space`, whatever they are.
fn resized(space: &mut Vec<f32>, len: usize) -> &mut [f32] {
    if space.len() < len {
        space.resize(len, 0.0);
    }
    &mut space[..len]
}
