//! What computes a graph for ONNX Runtime.

use ort::ep::coreml::{ComputeUnits, ModelFormat};
use ort::ep::{self, ExecutionProvider, ExecutionProviderDispatch};

/// An execution provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// The processor.
    Cpu,
    /// An NVIDIA GPU. Needs the library of the package onnxruntime-gpu, and CUDA.
    Cuda,
    /// Apple's GPU, through CoreML. What that does not know of a graph, the processor computes.
    Mps,
    /// All units that CoreML knows. The neural engine computes in float16, and takes what a graph has in float16 at the most.
    CoreMl,
}

impl Provider {
    /// As `--device` names it.
    #[must_use]
    pub fn device(self) -> &'static str {
        match self {
            Provider::Cpu => "cpu",
            Provider::Cuda => "cuda",
            Provider::Mps => "mps",
            Provider::CoreMl => "coreml",
        }
    }

    /// What computes there, for people.
    pub(super) fn detail(self) -> String {
        match self {
            Provider::Cpu => std::env::consts::ARCH.into(),
            Provider::Cuda => "device 0".into(),
            Provider::Mps => "CoreML on the GPU and the processor".into(),
            Provider::CoreMl => "CoreML on all units".into(),
        }
    }

    /// What is to be installed for it.
    pub(super) fn requirement(self) -> &'static str {
        match self {
            Provider::Cpu => "pip install --force-reinstall onnxruntime",
            Provider::Cuda => {
                "it needs an NVIDIA GPU with its driver, and pip install onnxruntime-gpu[cuda,cudnn] in place of onnxruntime"
            }
            Provider::Mps | Provider::CoreMl => "it needs a Mac, and pip install onnxruntime there",
        }
    }

    /// In the order in which they are asked whether they compute a node.
    pub(super) fn dispatch(self) -> Vec<ExecutionProviderDispatch> {
        // One arena for batches of all lengths: without it every batch costs page faults.
        let cpu = ep::CPU::default().with_arena_allocator(true).build();
        let first = match self {
            Provider::Cpu => return vec![cpu],
            // TF32 rounds to ten bits of mantissa, and then vectors are no longer those of the other engines. The arena
            // grows by what is asked for, not to the next power of two.
            Provider::Cuda => ep::CUDA::default()
                .with_tf32(false)
                .with_arena_extend_strategy(ep::ArenaExtendStrategy::SameAsRequested)
                .build(),
            Provider::Mps => coreml(ComputeUnits::CPUAndGPU),
            Provider::CoreMl => coreml(ComputeUnits::All),
        };
        vec![first.error_on_failure(), cpu]
    }

    /// Whether the loaded library was built with it. That says nothing about the device.
    pub(super) fn is_compiled_in(self) -> bool {
        match self {
            Provider::Cpu => true,
            Provider::Cuda => ep::CUDA::is_available().unwrap_or(false),
            Provider::Mps | Provider::CoreMl => ep::CoreML::is_available().unwrap_or(false),
        }
    }
}

/// As an ML program, which is computed in the types of the graph; the older format may become float16 on the GPU:
/// <https://apple.github.io/coremltools/docs-guides/source/typed-execution.html>
fn coreml(units: ComputeUnits) -> ExecutionProviderDispatch {
    ep::CoreML::default().with_model_format(ModelFormat::MLProgram).with_compute_units(units).build()
}
