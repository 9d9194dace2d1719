//! Loading a library and asking it what it is: the unsafe part of the check.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_void};
use std::path::Path;

use super::{API, LibraryError};

/// `OrtApiBase` of `onnxruntime_c_api.h`; the same in every version.
#[repr(C)]
struct ApiBase {
    get_api: Option<unsafe extern "system" fn(u32) -> *const c_void>,
    get_version_string: Option<unsafe extern "system" fn() -> *const c_char>,
}

type GetApiBase = unsafe extern "system" fn() -> *const ApiBase;

/// The version of the library at `path`, which has the interface [`API`].
pub(super) fn version(path: &Path) -> Result<String, LibraryError> {
    // SAFETY: loading runs the initialisers of the library, and nothing can prove what those do: it is code that the user
    // named, put beside the program or installed, and it is to be run in this process anyway. Its header was checked, so
    // that mapping it cannot touch pages beyond its end (while nobody cuts the file meanwhile).
    let library = unsafe { libloading::Library::new(path) }.map_err(|error| refused(path, &error))?;
    // Never unloaded, usable or not: what its initialisers have registered may be called until the process ends.
    let library: &'static libloading::Library = Box::leak(Box::new(library));
    let not_onnx_runtime = || LibraryError::NotOnnxRuntime { path: path.into() };
    // SAFETY: the symbol is only called, and a function of this name is of this type in all versions of ONNX Runtime.
    let get_base = unsafe { library.get::<GetApiBase>(b"OrtGetApiBase\0") }.map_err(|_| not_onnx_runtime())?;
    // SAFETY: it takes nothing and returns a pointer to a static, or null.
    let base = unsafe { get_base() };
    // SAFETY: null gives None; otherwise it points to a static of the library, which is never unloaded.
    let base: &'static ApiBase = unsafe { base.as_ref() }.ok_or_else(not_onnx_runtime)?;
    let (Some(get_api), Some(get_version)) = (base.get_api, base.get_version_string) else {
        return Err(not_onnx_runtime());
    };
    // SAFETY: it takes nothing and returns a C string that lives as long as the library, or null.
    let version = unsafe { get_version() };
    if version.is_null() {
        return Err(not_onnx_runtime());
    }
    // SAFETY: not null, ends with a zero, and is never freed, as said above.
    let found = unsafe { CStr::from_ptr(version) }.to_string_lossy().into_owned();
    if !is_supported(&found) {
        return Err(LibraryError::Version { path: path.into(), found });
    }
    // SAFETY: any number may be asked for; the answer is null or a pointer, which is not followed here.
    if unsafe { get_api(API) }.is_null() {
        return Err(LibraryError::NoInterface { path: path.into(), found });
    }
    Ok(found)
}

/// 1.17 and later, before 2.
fn is_supported(version: &str) -> bool {
    let mut numbers = version.split(['.', '-', '+']).map(str::parse::<u32>);
    matches!((numbers.next(), numbers.next()), (Some(Ok(1)), Some(Ok(minor))) if minor >= API)
}

/// What the system's loader says of a library that it does not load.
fn refused(path: &Path, error: &libloading::Error) -> LibraryError {
    let source = std::error::Error::source(error).map(ToString::to_string);
    let what = source.unwrap_or_else(|| error.to_string());
    match what.split_once(": cannot open shared object file") {
        Some((needs, _)) if Path::new(needs) != path => {
            LibraryError::Dependency { path: path.into(), needs: needs.into() }
        }
        _ => LibraryError::Load { path: path.into(), what },
    }
}

#[cfg(test)]
mod tests {
    use super::is_supported;

    #[test]
    fn versions() {
        for good in ["1.17.0", "1.32.0", "1.20.0-dev", "1.100"] {
            assert!(is_supported(good), "{good}");
        }
        for bad in ["1.16.3", "1.9.0", "0.17.0", "2.0.0", "1", "", "1.x.3", "v1.17"] {
            assert!(!is_supported(bad), "{bad}");
        }
    }
}
