//! ONNX Runtime's environment: one in a process, and the library with it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use ort::environment::Environment;
use ort::logging::LogLevel;

use super::OnnxError;
use super::error::said;
use super::library::{Library, LibraryError};

struct Loaded {
    path: PathBuf,
    environment: Environment,
}

static LOADED: Mutex<Option<Loaded>> = Mutex::new(None);

/// The environment of a library that was checked.
pub(super) fn environment(library: &Library) -> Result<Environment, OnnxError> {
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(Loaded { path, environment }) = &*loaded {
        return match path == library.path() {
            true => Ok(environment.clone()),
            false => Err(LibraryError::Another { path: library.path().into(), loaded: path.clone() }.into()),
        };
    }
    let refused = |what: String| LibraryError::Load { path: library.path().into(), what };
    let builder = ort::init_from(library.path()).map_err(|error| refused(error.to_string()))?;
    // ONNX Runtime writes to stderr by itself; what matters comes back as an error too.
    let silence = Arc::new(|_: LogLevel, _: &str, _: &str, _: &str, _: &str| {});
    let builder = builder.with_name("embstore").with_telemetry(false).with_logger(silence);
    let environment = builder.build().map_err(|error| refused(said(&error)))?;
    environment.set_log_level(LogLevel::Fatal);
    *loaded = Some(Loaded { path: library.path().into(), environment: environment.clone() });
    Ok(environment)
}
