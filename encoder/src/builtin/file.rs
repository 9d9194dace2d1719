//! Weights from a file of safetensors, as float32.
//!
//! ```text
//! u64 header length | header: JSON, {name: {dtype, shape, data_offsets}} | tensors, one after another
//! ```
//!
//! <https://huggingface.co/docs/safetensors>. The header is verified by the `safetensors` crate (every tensor's bytes follow
//! the one before and have the length of its shape); tensors are then read one at a time, so that the file is never in
//! memory as a whole.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use safetensors::Dtype;
use safetensors::tensor::Metadata;

use super::error::NetworkError;

/// Headers are kilobytes; the limit is that of the reference implementation.
const HEADER_MAX: u64 = 100_000_000;

/// An open file of weights.
pub(super) struct WeightFile {
    path: PathBuf,
    file: File,
    header: Metadata,
    /// Byte at which the tensors start.
    start: u64,
    /// What stands before every name, for example `bert.`.
    prefix: &'static str,
}

impl WeightFile {
    pub(super) fn open(path: &Path) -> Result<Self, NetworkError> {
        let read = |source| NetworkError::Read { path: path.into(), source };
        let damaged = |what: String| NetworkError::Damaged { path: path.into(), what };
        let mut file = File::open(path).map_err(read)?;
        let bytes = file.metadata().map_err(read)?.len();
        let mut length = [0; 8];
        file.read_exact(&mut length).map_err(|_| damaged(format!("has only {bytes} bytes")))?;
        let length = u64::from_le_bytes(length);
        if length > HEADER_MAX || length + 8 > bytes {
            return Err(damaged(format!("its header should have {length} bytes, the file has {bytes}")));
        }
        let mut header = vec![0; length as usize];
        file.read_exact(&mut header).map_err(read)?;
        let header: Metadata = serde_json::from_slice(&header).map_err(|error| damaged(error.to_string()))?;
        let expected = 8 + length + header.data_len() as u64;
        if expected != bytes {
            return Err(damaged(format!("should have {expected} bytes and has {bytes}")));
        }
        Ok(WeightFile { path: path.into(), file, header, start: 8 + length, prefix: "" })
    }

    /// Takes the first of `prefixes` with which there is a tensor `name`.
    pub(super) fn choose_prefix(&mut self, name: &str, prefixes: &[&'static str]) {
        let found = prefixes.iter().find(|prefix| self.header.info(&format!("{prefix}{name}")).is_some());
        self.prefix = found.copied().unwrap_or("");
    }

    /// The values of a tensor, row-major.
    pub(super) fn tensor(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, NetworkError> {
        let (path, name) = (self.path.clone(), format!("{}{name}", self.prefix));
        let Some(info) = self.header.info(&name) else {
            return Err(NetworkError::NoTensor { path, name });
        };
        if info.shape != shape {
            return Err(NetworkError::TensorShape { path, name, expected: shape.into(), got: info.shape.clone() });
        }
        let widen: fn(&[u8]) -> Vec<f32> = match info.dtype {
            Dtype::F32 => |bytes| bytes.as_chunks().0.iter().map(|&value| f32::from_le_bytes(value)).collect(),
            Dtype::F16 => |bytes| bytes.as_chunks().0.iter().map(|&value| f16::from_le_bytes(value).to_f32()).collect(),
            Dtype::BF16 => {
                |bytes| bytes.as_chunks().0.iter().map(|&value| bf16::from_le_bytes(value).to_f32()).collect()
            }
            other => return Err(NetworkError::TensorType { path, name, dtype: format!("{other:?}") }),
        };
        let (from, to) = info.data_offsets;
        let bytes = self.read(from as u64, to - from).map_err(|source| NetworkError::Read { path, source })?;
        Ok(widen(&bytes))
    }

    fn read(&mut self, from: u64, bytes: usize) -> io::Result<Vec<u8>> {
        let mut buffer = vec![0; bytes];
        self.file.seek(SeekFrom::Start(self.start + from))?;
        self.file.read_exact(&mut buffer)?;
        Ok(buffer)
    }
}
