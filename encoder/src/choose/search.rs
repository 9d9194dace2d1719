//! Going through engines and devices.

use std::cell::OnceCell;

use super::error::{ChooseError, Unfit};
use super::request::{Choice, Device, Request};
use super::trial::{Reference, Trial};
use crate::builtin::Builtin;
use crate::engine::Engine;
use crate::model::{Model, ModelError};

/// An engine that passed the trial.
pub struct Chosen {
    /// The engine.
    pub engine: Box<dyn Engine>,
    /// For people: which it is and how well it agrees, then why others were not taken; a line each.
    pub notes: Vec<String>,
}

impl std::fmt::Debug for Chosen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chosen").field("engine", self.engine.identity()).field("notes", &self.notes).finish()
    }
}

/// Loads the engine that is asked for, or the best there is.
///
/// # Errors
///
/// [`ChooseError`]: what was asked for by name is not there or fails the trial, or nothing runs the model.
pub fn choose(model: &Model, request: &Request) -> Result<Chosen, ChooseError> {
    let search = Search::new(model, request)?;
    match (request.device, request.engine) {
        (Device::Auto | Device::Cpu, Choice::Builtin) => search.builtin("", Vec::new()),
        (device, Choice::Builtin) => Err(ChooseError::BuiltinDevice { device }),
        (Device::Auto, engine) => search.best(engine),
        (Device::Cpu, Choice::Auto) => search.processor(Vec::new()),
        (device, _) => search.onnx(device, Vec::new()),
    }
}

struct Search<'a> {
    model: &'a Model,
    request: &'a Request,
    trial: Trial,
    /// What the built-in engine makes of the trial, or why it does not; it is asked when there is something to compare.
    expected: OnceCell<Result<Reference, String>>,
}

impl<'a> Search<'a> {
    fn new(model: &'a Model, request: &'a Request) -> Result<Self, ChooseError> {
        let failed = |source| ChooseError::Trial { engine: "tokenizer", device: "cpu", source };
        let trial = Trial::new(model).map_err(failed)?;
        Ok(Search { model, request, trial, expected: OnceCell::new() })
    }

    /// On any device.
    fn best(&self, engine: Choice) -> Result<Chosen, ChooseError> {
        let mut reasons = Vec::new();
        // The neural engine is not tried by itself: it computes in float16, which is not what others compute.
        let devices: &[Device] = if cfg!(target_os = "macos") { &[Device::Mps] } else { &[Device::Cuda] };
        for &device in devices {
            match self.onnx(device, Vec::new()) {
                Ok(chosen) => return Ok(chosen),
                Err(error) => reasons.push(format!("not on {}: {error}", device.name())),
            }
        }
        match engine {
            Choice::Onnx => self.onnx(Device::Cpu, reasons),
            _ => self.processor(reasons),
        }
    }

    /// On the processor: weights that the built-in engine does not know are for ONNX Runtime, where there is a graph of
    /// them. Weights that are damaged are an error, whatever lies beside them.
    fn processor(&self, mut reasons: Vec<String>) -> Result<Chosen, ChooseError> {
        let unknown = match self.builtin(", the first choice on the processor", reasons.clone()) {
            Err(ChooseError::Model(ModelError::Network(error)))
                if error.is_unknown() && self.model.graph().is_some() =>
            {
                error
            }
            built_in => return built_in,
        };
        let error = match self.onnx(Device::Cpu, reasons.clone()) {
            Ok(chosen) => return Ok(chosen),
            Err(error) => error,
        };
        reasons.extend([format!("not the built-in engine: {unknown}"), format!("not ONNX Runtime: {error}")]);
        // The built-in engine has nothing for it here, so what stops the other one is to be mended.
        let hint = error.hint();
        Err(ChooseError::NoEngine { reasons, hint })
    }

    fn builtin(&self, how: &str, reasons: Vec<String>) -> Result<Chosen, ChooseError> {
        let engine = Builtin::load(self.model, self.request.threads)?;
        let failed = |source| ChooseError::Trial { engine: "builtin", device: "cpu", source };
        self.trial.run(&engine).map_err(failed)?;
        Ok(chosen(Box::new(engine), how, reasons))
    }

    /// ONNX Runtime on a device, compared with the built-in engine or, where that has no weights, with itself on the
    /// processor.
    fn onnx(&self, device: Device, reasons: Vec<String>) -> Result<Chosen, ChooseError> {
        let engine = load(self.model, self.request, device)?;
        let failed = |source| ChooseError::Trial { engine: "onnx", device: device.name(), source };
        let on_processor;
        let (reference, why) = match self.expected.get_or_init(|| reference(self.model, &self.trial)) {
            Ok(reference) => (Some(reference), ""),
            Err(why) if device == Device::Cpu => (None, why.as_str()),
            Err(_) => {
                let other = load(self.model, self.request, Device::Cpu)?;
                let vectors = self.trial.run(&*other).map_err(failed)?;
                on_processor = Reference { by: "same graph on the processor", dim: other.dim(), vectors };
                (Some(&on_processor), "")
            }
        };
        let how = if let Some(reference) = reference {
            let cosine = self.trial.compare(&*engine, reference).map_err(failed)?;
            format!(", agrees with the {} (cosine {cosine:.7})", reference.by)
        } else {
            self.trial.run(&*engine).map_err(failed)?;
            format!(", compared with nothing: {why}")
        };
        Ok(chosen(engine, &how, reasons))
    }
}

fn chosen(engine: Box<dyn Engine>, how: &str, reasons: Vec<String>) -> Chosen {
    let crate::Identity { name, version, device, detail } = engine.identity();
    let mut notes = vec![format!("engine {name} {version} on {device} ({detail}){how}")];
    notes.extend(reasons);
    Chosen { engine, notes }
}

fn reference(model: &Model, trial: &Trial) -> Result<Reference, String> {
    let loaded: Result<Builtin, ModelError> = Builtin::load(model, 1);
    let engine = loaded.map_err(|error| error.to_string())?;
    let vectors = trial.run(&engine).map_err(|error: Unfit| error.to_string())?;
    Ok(Reference { by: "built-in engine", dim: engine.dim(), vectors })
}

#[cfg(feature = "onnx")]
fn load(model: &Model, request: &Request, device: Device) -> Result<Box<dyn Engine>, ChooseError> {
    use crate::onnx::{Library, Onnx, OnnxError, Provider};

    let provider = match device {
        Device::Auto | Device::Cpu => Provider::Cpu,
        Device::Cuda => Provider::Cuda,
        Device::CoreMl => Provider::CoreMl,
        Device::Mps => Provider::Mps,
    };
    if model.graph().is_none() {
        return Err(OnnxError::NoGraph { folder: model.folder().into() }.into());
    }
    let library = Library::first(&request.libraries).map_err(OnnxError::from)?;
    Ok(Box::new(Onnx::load(model, &library, provider, request.threads)?))
}

#[cfg(not(feature = "onnx"))]
fn load(_: &Model, _: &Request, _: Device) -> Result<Box<dyn Engine>, ChooseError> {
    Err(ChooseError::NotBuilt)
}
