//! The function between the two products of a layer.

use super::kernels;

/// By its name in `config.json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Activation {
    /// x Φ(x) with the normal distribution's Φ.
    Gelu,
    /// The same with tanh in place of the error function.
    GeluTanh,
    /// max(x, 0).
    Relu,
}

impl Activation {
    pub(super) fn named(name: &str) -> Option<Self> {
        match name {
            "gelu" => Some(Activation::Gelu),
            "gelu_new" | "gelu_fast" | "gelu_pytorch_tanh" => Some(Activation::GeluTanh),
            "relu" => Some(Activation::Relu),
            _ => None,
        }
    }

    pub(super) fn apply(self, values: &mut [f32]) {
        match self {
            Activation::Gelu => kernels::gelu(values),
            Activation::GeluTanh => kernels::gelu_tanh(values),
            Activation::Relu => values.iter_mut().for_each(|value| *value = value.max(0.0)),
        }
    }
}
