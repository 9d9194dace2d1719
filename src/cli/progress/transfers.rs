//! Files on their way: a bar each and one for all, plain lines or JSON lines.

use std::collections::BTreeMap;
use std::time::Instant;

use embstore::Transfer;
use embstore::text::{megabytes, thousands};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::ticker::Ticker;
use super::{INTERVAL, line};

/// Lines of a terminal for bars of files; more are counted in the total alone.
const MOST_BARS: usize = 16;

/// How far the files are.
pub(super) struct Transfers {
    files: u64,
    landed_files: u64,
    bytes: u64,
    done: u64,
    /// Bytes that have come, without those of an earlier run: they count for speed.
    moved: u64,
    began: Instant,
    pub(super) lines: Ticker,
    /// Bytes of each file that are in `done`. A file that changes or does not match begins again.
    counted: BTreeMap<String, u64>,
    active: BTreeMap<String, Active>,
    total: Option<ProgressBar>,
}

struct Active {
    bytes: u64,
    done: u64,
    bar: Option<ProgressBar>,
}

impl Transfers {
    pub(super) fn new(files: u64, bytes: u64, landed: u64, bars: Option<&MultiProgress>) -> Self {
        let now = Instant::now();
        let total = bars.map(|bars| {
            let bar = bars.add(bar(bytes, "{prefix} {bar:30} {decimal_bytes}/{decimal_total_bytes}  {msg}"));
            bar.set_prefix("fetch");
            bar.set_position(landed);
            bar
        });
        Transfers {
            files,
            landed_files: 0,
            bytes,
            done: landed,
            moved: 0,
            began: now,
            lines: Ticker::new(INTERVAL),
            counted: BTreeMap::new(),
            active: BTreeMap::new(),
            total,
        }
    }

    /// Takes what has happened into account.
    pub(super) fn hear(&mut self, event: Transfer<'_>, bars: Option<&MultiProgress>) {
        match event {
            Transfer::Begin { .. } | Transfer::Note { .. } => {}
            Transfer::File { file, bytes, landed } => {
                // What landed in an earlier run is counted from the beginning.
                let counted = self.counted.get(file).copied().unwrap_or(landed);
                self.count(file, counted, landed);
                let bar = bars.filter(|_| self.active.len() < MOST_BARS).map(|bars| {
                    let bar = bars.insert(0, bar(bytes, "  {prefix} {bar:20} {decimal_bytes}/{decimal_total_bytes}"));
                    bar.set_prefix(file.to_string());
                    bar.set_position(landed);
                    bar
                });
                self.active.insert(file.into(), Active { bytes, done: landed, bar });
            }
            Transfer::Bytes { file, bytes } => {
                let counted = self.counted.get(file).copied().unwrap_or(0);
                self.count(file, counted, counted + bytes);
                self.moved += bytes;
                if let Some(active) = self.active.get_mut(file) {
                    active.done += bytes;
                    if let Some(bar) = &active.bar {
                        bar.set_position(active.done);
                    }
                }
                if let Some(total) = &self.total {
                    total.set_message(self.speed());
                }
            }
            Transfer::Landed { file, bytes } => {
                // A file that was there already has moved no bytes.
                let counted = self.counted.get(file).copied().unwrap_or(0);
                self.count(file, counted, bytes);
                self.landed_files += 1;
                self.forget(file);
            }
            Transfer::Stopped { file } => self.forget(file),
        }
    }

    fn count(&mut self, file: &str, before: u64, now: u64) {
        self.done = self.done.saturating_sub(before) + now;
        self.counted.insert(file.into(), now);
        if let Some(total) = &self.total {
            total.set_position(self.done);
        }
    }

    fn forget(&mut self, file: &str) {
        if let Some(bar) = self.active.remove(file).and_then(|active| active.bar) {
            bar.finish_and_clear();
        }
    }

    /// Takes the bars away.
    pub(super) fn clear(&mut self) {
        let bars = self.active.values_mut().filter_map(|active| active.bar.take());
        bars.chain(self.total.take()).for_each(|bar| bar.finish_and_clear());
    }

    fn bytes_per_second(&self) -> f64 {
        self.moved as f64 / self.began.elapsed().as_secs_f64().max(1e-3)
    }

    fn seconds_left(&self) -> Option<f64> {
        let speed = self.bytes_per_second();
        (speed > 0.0).then(|| self.bytes.saturating_sub(self.done) as f64 / speed)
    }

    fn speed(&self) -> String {
        let speed = megabytes(self.bytes_per_second() as u64);
        match self.seconds_left() {
            Some(left) => format!("{speed}/s, {left:.0} s left"),
            None => format!("{speed}/s"),
        }
    }

    pub(super) fn text(&self) -> String {
        let percent = 100 * self.done / self.bytes.max(1);
        format!(
            "fetch {} of {} files, {} of {} ({percent} %), {}",
            thousands(self.landed_files),
            thousands(self.files),
            megabytes(self.done),
            megabytes(self.bytes),
            self.speed()
        )
    }

    pub(super) fn json(&self) -> Value {
        let file =
            |(name, active): (&String, &Active)| json!({"file": name, "bytes": active.bytes, "done": active.done});
        json!({
            "phase": "fetch",
            "files": self.files,
            "files_done": self.landed_files,
            "bytes": self.bytes,
            "done": self.done,
            "fraction": if self.bytes > 0 { Some(self.done as f64 / self.bytes as f64) } else { None },
            "bytes_per_second": self.bytes_per_second(),
            "seconds_left": self.seconds_left(),
            "active": self.active.iter().map(file).collect::<Value>(),
        })
    }
}

/// Says at once what happens to one file, where lines are shown.
pub(super) fn sentence(event: Transfer<'_>) -> Option<String> {
    match event {
        Transfer::Landed { file, bytes } => Some(format!("✓ {file} ({})", megabytes(bytes))),
        Transfer::Note { text } => Some(format!("⚠ {text}")),
        _ => None,
    }
}

/// The same for programs.
pub(super) fn event_json(event: Transfer<'_>) -> Option<Value> {
    match event {
        Transfer::File { file, bytes, landed } => {
            Some(json!({"event": "begin", "file": file, "bytes": bytes, "landed": landed}))
        }
        Transfer::Landed { file, bytes } => Some(json!({"event": "landed", "file": file, "bytes": bytes})),
        Transfer::Stopped { file } => Some(json!({"event": "stopped", "file": file})),
        Transfer::Note { text } => Some(json!({"event": "note", "text": text})),
        Transfer::Begin { .. } | Transfer::Bytes { .. } => None,
    }
}

fn bar(length: u64, template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length).with_style(style)
}

/// Prints a line above the bars, where there are any.
pub(super) fn say(text: &str, bars: Option<&MultiProgress>) {
    match bars {
        // With the terminal gone there is nobody left to tell.
        Some(bars) => drop(bars.println(text)),
        None => line(text),
    }
}
