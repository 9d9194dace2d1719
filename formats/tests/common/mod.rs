//! What the pickle tests share.

// Each test binary uses its own part of this.
#![allow(dead_code)]

use std::path::{Path, PathBuf};

use embstore_formats::pickle::{NodeId, PayloadSpan, PickledArray, Tree};

/// The folder of fixtures.
pub(crate) fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data")
}

pub(crate) fn read(name: &str) -> Vec<u8> {
    let path = data().join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// CRC-32 as in zlib.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc: u32, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
    })
}

/// Every array below a value, with its path; cycles are not in the fixtures.
pub(crate) fn arrays<'a>(tree: &'a Tree, id: NodeId, path: &str, out: &mut Vec<(String, &'a PickledArray)>) {
    if let Some(array) = tree.array(id) {
        out.push((path.to_string(), array));
    }
    for (i, item) in tree.items(id).enumerate() {
        arrays(tree, item, &format!("{path}/{i}"), out);
    }
    for (key, value) in tree.entries(id) {
        let key = match tree.to_json(key) {
            serde_json::Value::String(text) => text,
            other => other.to_string(),
        };
        arrays(tree, value, &format!("{path}/{key}"), out);
    }
}

/// The bytes of a payload as numpy has them in memory.
pub(crate) fn payload(span: &PayloadSpan, file: &[u8]) -> Vec<u8> {
    let encoded = &file[span.offset as usize..][..span.encoded_len as usize];
    let mut bytes = Vec::new();
    std::io::copy(&mut span.decoder(encoded), &mut bytes).expect("a payload decodes");
    assert_eq!(span.decoded_len(encoded).expect("a payload decodes"), bytes.len() as u64);
    bytes
}
