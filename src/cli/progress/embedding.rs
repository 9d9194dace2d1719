//! Files on their way to embeddings: a bar of the current file, and what all of them come to.

use std::time::Instant;

use embstore::Embedding;
use embstore::text::thousands;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::INTERVAL;
use super::ticker::Ticker;

/// How far the worker is.
pub(super) struct Embeddings {
    began: Instant,
    pub(super) lines: Ticker,
    /// Files that are done, and files that are known to wait.
    files: u64,
    left: Option<u64>,
    rows: u64,
    current: Option<Current>,
}

struct Current {
    file: String,
    rows: u64,
    done: u64,
    bar: Option<ProgressBar>,
}

impl Embeddings {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Embeddings { began: now, lines: Ticker::new(INTERVAL * 10), files: 0, left: None, rows: 0, current: None }
    }

    /// Takes what has happened into account.
    pub(super) fn hear(&mut self, event: Embedding<'_>, bars: Option<&MultiProgress>) {
        match event {
            Embedding::Left { files } => self.left = Some(files),
            Embedding::File { file, rows } => {
                self.clear();
                let bar = bars.map(|bars| {
                    let bar = bars.add(ProgressBar::new(rows).with_style(style()));
                    bar.set_prefix(file.to_string());
                    bar
                });
                self.current = Some(Current { file: file.into(), rows, done: 0, bar });
            }
            Embedding::Rows { rows } => {
                self.rows += rows;
                let message = self.total();
                if let Some(current) = &mut self.current {
                    current.done += rows;
                    if let Some(bar) = &current.bar {
                        bar.set_position(current.done);
                        bar.set_message(message);
                    }
                }
            }
            Embedding::Done { .. } | Embedding::Skipped { .. } | Embedding::Failed { .. } => {
                self.clear();
                self.files += u64::from(!matches!(event, Embedding::Failed { .. }));
                self.left = self.left.map(|left| left.saturating_sub(1));
            }
            Embedding::Waiting => self.clear(),
            Embedding::Note { .. } => {}
        }
    }

    /// Takes the bar away.
    pub(super) fn clear(&mut self) {
        if let Some(bar) = self.current.take().and_then(|current| current.bar) {
            bar.finish_and_clear();
        }
    }

    fn rows_per_second(&self) -> f64 {
        self.rows as f64 / self.began.elapsed().as_secs_f64().max(1e-3)
    }

    fn total(&self) -> String {
        let left = self.left.map(|left| format!(", {} left", thousands(left))).unwrap_or_default();
        let files = if self.files == 1 { "1 file".into() } else { format!("{} files", thousands(self.files)) };
        format!("{:.0} rows/s; {files} done{left}", self.rows_per_second())
    }

    pub(super) fn text(&self) -> Option<String> {
        let Current { file, rows, done, .. } = self.current.as_ref()?;
        let percent = 100 * done / rows.max(&1);
        Some(format!("embed {file}: {} of {} rows ({percent} %), {}", thousands(*done), thousands(*rows), self.total()))
    }

    pub(super) fn json(&self) -> Value {
        let current = self.current.as_ref();
        json!({
            "phase": "embed",
            "files_done": self.files,
            "files_left": self.left,
            "rows_done": self.rows,
            "rows_per_second": self.rows_per_second(),
            "file": current.map(|current| &current.file),
            "rows": current.map(|current| current.rows),
            "done": current.map(|current| current.done),
        })
    }
}

/// Says at once what happens to one file, where lines are shown.
pub(super) fn sentence(event: Embedding<'_>) -> Option<String> {
    match event {
        Embedding::Done { file, rows, seconds } => {
            let speed = rows as f64 / seconds.max(1e-3);
            Some(format!("✓ {file} ({} rows in {seconds:.1} s, {speed:.0} rows/s)", thousands(rows)))
        }
        Embedding::Skipped { file } => Some(format!("✓ {file} was there")),
        Embedding::Failed { error: text, .. } | Embedding::Note { text } => Some(format!("⚠ {text}")),
        Embedding::Left { .. } | Embedding::Waiting | Embedding::File { .. } | Embedding::Rows { .. } => None,
    }
}

/// The same for programs.
pub(super) fn event_json(event: Embedding<'_>) -> Option<Value> {
    match event {
        Embedding::File { file, rows } => Some(json!({"event": "begin", "file": file, "rows": rows})),
        Embedding::Done { file, rows, seconds } => {
            Some(json!({"event": "done", "file": file, "rows": rows, "seconds": seconds}))
        }
        Embedding::Skipped { file } => Some(json!({"event": "skipped", "file": file})),
        Embedding::Failed { file, error } => Some(json!({"event": "failed", "file": file, "error": error})),
        Embedding::Note { text } => Some(json!({"event": "note", "text": text})),
        Embedding::Left { .. } | Embedding::Waiting | Embedding::Rows { .. } => None,
    }
}

fn style() -> ProgressStyle {
    let template = "{prefix} {bar:30} {human_pos}/{human_len} rows  {msg}";
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
