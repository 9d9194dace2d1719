//! Results on stdout, notes and errors on stderr.

use std::io::{self, Write};

use serde_json::Value;

/// How results are printed.
#[derive(Clone, Copy)]
pub(super) struct Output {
    pub(super) json: bool,
    pub(super) quiet: bool,
}

impl Output {
    /// Prints a result: the JSON object, or the text that `human` writes.
    pub(super) fn result(self, json: &Value, human: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if self.json {
            writeln!(out, "{json}")?;
        } else if !self.quiet {
            human(&mut out)?;
        }
        out.flush()
    }
}

/// Prints an error: what is wrong and where, then what to do.
pub(super) fn error(message: &str, hint: &str) {
    // With stderr closed there is nobody left to tell.
    let _ = writeln!(io::stderr().lock(), "✗ {message}\n  {hint}");
}

/// Prints what a person should know while the command goes on.
#[cfg(feature = "embed")]
pub(super) fn note(text: &str) {
    // With stderr closed there is nobody left to tell.
    let _ = writeln!(io::stderr().lock(), "{text}");
}
