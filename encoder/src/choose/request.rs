//! What is asked for.

use std::path::PathBuf;

/// On what vectors are computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Device {
    /// The first that serves: Apple's GPU, CUDA, the processor.
    #[default]
    Auto,
    /// The processor.
    Cpu,
    /// An NVIDIA GPU, through ONNX Runtime.
    Cuda,
    /// Apple's GPU, through CoreML in ONNX Runtime. What CoreML does not know of a graph, the processor computes.
    Mps,
    /// All of Apple's units, the neural engine among them, through CoreML in ONNX Runtime.
    CoreMl,
}

impl Device {
    /// As it is written on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Device::Auto => "auto",
            Device::Cpu => "cpu",
            Device::Cuda => "cuda",
            Device::Mps => "mps",
            Device::CoreMl => "coreml",
        }
    }
}

/// Which engine computes them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// On the processor the built-in engine where it knows the model, else ONNX Runtime.
    #[default]
    Auto,
    /// The built-in engine.
    Builtin,
    /// ONNX Runtime.
    Onnx,
}

/// What is asked for, and what there is to do it with.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The device.
    pub device: Device,
    /// The engine.
    pub engine: Choice,
    /// Threads, or batches at a time; at least one.
    pub threads: usize,
    /// The libraries of ONNX Runtime that may be taken, the first first.
    pub libraries: Vec<PathBuf>,
}
