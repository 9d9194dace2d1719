//! One file of text to embed, and the form in which it waits on a list.

use std::path::{Path, PathBuf};

use serde::Deserialize;

/// One Parquet file of text, and where the same file with its embeddings goes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Deserialize)]
pub struct Job {
    /// The file to read.
    pub input: String,
    /// The file to write.
    pub output: String,
}

/// Why something is no job.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JobError {
    /// A path that JSON cannot hold.
    #[error("{}: the name is not UTF-8, so no job can name it", path.display())]
    NotUtf8 {
        /// The path.
        path: PathBuf,
    },
    /// An entry of a list that is no job.
    #[error("not a job, which is {{\"input\": …, \"output\": …}}: {source}")]
    Malformed {
        /// What the parser says.
        source: serde_json::Error,
    },
}

impl JobError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            JobError::NotUtf8 { .. } => "rename it, or move it out of the folder".into(),
            JobError::Malformed { .. } => {
                "something else writes to this list: choose another one with --queue-name".into()
            }
        }
    }
}

impl Job {
    /// The job that reads `input` and writes `output`.
    ///
    /// # Errors
    /// Where a path is not UTF-8.
    pub fn new(input: &Path, output: &Path) -> Result<Self, JobError> {
        let text =
            |path: &Path| path.to_str().map(String::from).ok_or_else(|| JobError::NotUtf8 { path: path.to_path_buf() });
        Ok(Job { input: text(input)?, output: text(output)? })
    }

    /// The job as JSON, byte for byte what Python's `json.dumps({"input": …, "output": …})` gives.
    ///
    /// Older managers push these bytes, and the entry of a list is known by its bytes.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut json = String::with_capacity(self.input.len() + self.output.len() + 30);
        json.push_str("{\"input\": ");
        push_ascii(&mut json, &self.input);
        json.push_str(", \"output\": ");
        push_ascii(&mut json, &self.output);
        json.push('}');
        json
    }

    /// The job that an entry of a list tells, in any form of JSON.
    ///
    /// # Errors
    /// Where it is not JSON, or lacks one of the two paths.
    pub fn from_json(entry: &[u8]) -> Result<Self, JobError> {
        serde_json::from_slice(entry).map_err(|source| JobError::Malformed { source })
    }
}

/// A string of JSON in ASCII, as Python's `ensure_ascii` writes it.
fn push_ascii(json: &mut String, text: &str) {
    json.push('"');
    for character in text.chars() {
        match character {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            '\u{8}' => json.push_str("\\b"),
            '\u{c}' => json.push_str("\\f"),
            ' '..='~' => json.push(character),
            _ => {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    json.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    json.push('"');
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    fn job(input: &str, output: &str) -> Job {
        Job { input: input.into(), output: output.into() }
    }

    #[test]
    fn the_json_is_that_of_python() {
        assert_eq!(job("a", "b").to_json(), r#"{"input": "a", "output": "b"}"#);
        // python3 -c 'import json; print(json.dumps({"input": "é\u007f\x00\x1f\"\\/\b\f\n\r\t", "output": "東😀~ "}))'
        let odd = job("é\u{7f}\0\u{1f}\"\\/\u{8}\u{c}\n\r\t", "東😀~ ");
        let python = r#"{"input": "\u00e9\u007f\u0000\u001f\"\\/\b\f\n\r\t", "output": "\u6771\ud83d\ude00~ "}"#;
        assert_eq!(odd.to_json(), python);
        assert_eq!(Job::from_json(python.as_bytes()).unwrap(), odd);
    }

    #[test]
    fn any_form_of_json_is_read() {
        let read = |text: &str| Job::from_json(text.as_bytes());
        assert_eq!(read(r#"{"output":"b","priority":3,"input":"a"}"#).unwrap(), job("a", "b"));
        for bad in ["", "chains/a.parquet", "[]", "3", r#"{"input": "a"}"#, r#"{"input": 1, "output": "b"}"#] {
            let said = read(bad).unwrap_err().to_string();
            assert!(said.starts_with("not a job, which is {\"input\": …, \"output\": …}: "), "{said}");
        }
        // What Python makes of a name that is not UTF-8.
        assert!(read(r#"{"input": "\udcff", "output": "b"}"#).is_err());
        assert!(Job::from_json(b"{\"input\": \"\xff\", \"output\": \"b\"}").is_err());
    }

    #[test]
    fn a_name_that_is_not_utf8_is_refused() {
        let odd = Path::new(OsStr::from_bytes(b"chains/\xff.parquet"));
        let said = Job::new(odd, Path::new("b")).unwrap_err().to_string();
        assert!(said.contains("not UTF-8"), "{said}");
        assert_eq!(Job::new(Path::new("a"), Path::new("b")).unwrap(), job("a", "b"));
    }
}
