//! The model's hash: equal where equal texts get equal vectors.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::{ModelError, Pooling};

/// SHA-256 in lower-case hex over the lines
///
/// ```text
/// embstore model 1
/// weights <sha256 of model.safetensors, or of the graph where there are no weights>
/// data <sha256 of what lies beside a graph that keeps its weights in another file>
/// config <sha256 of config.json, where there is one>
/// tokenizer <sha256 of tokenizer.json>
/// pooling <mean|cls|max>
/// normalises <true|false>
/// lowercases <true|false>
/// max_tokens <n>
/// ```
pub(super) fn hash(
    network: &Path,
    config: Option<&Path>,
    tokenizer: &Path,
    pooling: Pooling,
    normalises: bool,
    lowercases: bool,
    max_tokens: usize,
) -> Result<String, ModelError> {
    let mut lines = format!("embstore model 1\nweights {}\n", file(network)?);
    // The names that PyTorch and Optimum give it.
    for end in [".data", "_data"] {
        let beside = network.with_file_name(format!("{}{end}", network.file_name().unwrap_or_default().display()));
        if beside.is_file() {
            lines += &format!("data {}\n", file(&beside)?);
        }
    }
    if let Some(config) = config {
        lines += &format!("config {}\n", file(config)?);
    }
    lines += &format!("tokenizer {}\npooling {}\n", file(tokenizer)?, pooling.name());
    lines += &format!("normalises {normalises}\nlowercases {lowercases}\nmax_tokens {max_tokens}\n");
    Ok(hex(Sha256::digest(lines)))
}

fn file(path: &Path) -> Result<String, ModelError> {
    let read = || {
        let mut file = File::open(path)?;
        let mut digest = Sha256::new();
        let mut block = vec![0; 1 << 20];
        loop {
            match file.read(&mut block)? {
                0 => return Ok(hex(digest.finalize())),
                len => digest.update(&block[..len]),
            }
        }
    };
    read().map_err(|source| ModelError::Read { path: path.into(), source })
}

fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
