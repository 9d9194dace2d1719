//! Progress on stderr: bars, plain lines, JSON lines or nothing.

mod clustering;
mod embedding;
mod ticker;
mod transfers;

use std::io::{IsTerminal, Write, stderr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use embstore::text::{megabytes, thousands};
use embstore::{Clustering, Embedding, Phase, Progress, Transfer};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::ProgressMode;
use clustering::Clusterings;
use embedding::Embeddings;
use transfers::{Transfers, event_json, say, sentence};

/// Between two lines of one phase.
const INTERVAL: Duration = Duration::from_millis(500);

/// Shows how far the work is.
pub(super) struct Reporter {
    mode: ProgressMode,
    /// The lines of the terminal, shared by the bars.
    bars: Option<MultiProgress>,
    state: Mutex<State>,
    transfers: Mutex<Option<Transfers>>,
    embeddings: Mutex<Option<Embeddings>>,
    clusterings: Mutex<Option<Clusterings>>,
}

struct State {
    phase: Phase,
    rows: u64,
    row_bytes: u64,
    done: u64,
    /// Rows that were there when the phase began: they do not count for speed.
    head_start: Option<u64>,
    began: Instant,
    shown: Instant,
    bar: Option<ProgressBar>,
}

impl Reporter {
    pub(super) fn new(mode: ProgressMode) -> Self {
        let mode = match mode {
            ProgressMode::Auto if stderr().is_terminal() => ProgressMode::Bar,
            ProgressMode::Auto => ProgressMode::Plain,
            mode => mode,
        };
        let now = Instant::now();
        let (phase, bar) = (Phase::Plan, None);
        let state = State { phase, rows: 0, row_bytes: 0, done: 0, head_start: None, began: now, shown: now, bar };
        let bars = (mode == ProgressMode::Bar).then(MultiProgress::new);
        let (transfers, embeddings, clusterings) = (Mutex::default(), Mutex::default(), Mutex::default());
        Reporter { mode, bars, state: Mutex::new(state), transfers, embeddings, clusterings }
    }

    /// Takes the bars away, before a result is printed.
    pub(super) fn clear(&self) {
        if let Some(transfers) = &mut *self.transfers.lock().unwrap_or_else(PoisonError::into_inner) {
            transfers.clear();
        }
        if let Some(embeddings) = &mut *self.embeddings.lock().unwrap_or_else(PoisonError::into_inner) {
            embeddings.clear();
        }
        if let Some(clusterings) = &mut *self.clusterings.lock().unwrap_or_else(PoisonError::into_inner) {
            clusterings.clear();
        }
        self.state.lock().unwrap_or_else(PoisonError::into_inner).end_bar();
    }
}

impl Progress for Reporter {
    fn transfer(&self, event: Transfer<'_>) {
        self.hear(event);
    }

    fn embedding(&self, event: Embedding<'_>) {
        let mut embeddings = self.embeddings.lock().unwrap_or_else(PoisonError::into_inner);
        let embeddings = embeddings.get_or_insert_with(Embeddings::new);
        embeddings.hear(event, self.bars.as_ref());
        let far = (matches!(event, Embedding::Rows { .. }) && embeddings.lines.is_due())
            .then(|| (embeddings.text(), embeddings.json()));
        self.show(embedding::sentence(event), embedding::event_json(event), far);
    }

    fn clustering(&self, event: Clustering<'_>) {
        let mut clusterings = self.clusterings.lock().unwrap_or_else(PoisonError::into_inner);
        let clusterings = clusterings.get_or_insert_with(Clusterings::new);
        if let Clustering::Begin { .. } = event {
            // What was shown before the first group is over.
            self.state.lock().unwrap_or_else(PoisonError::into_inner).end_bar();
        }
        clusterings.hear(event, self.bars.as_ref());
        let far = (matches!(event, Clustering::Points { .. }) && clusterings.lines.is_due())
            .then(|| (Some(clusterings.text()), clusterings.json()));
        self.show(clustering::sentence(event), clustering::event_json(event), far);
    }

    fn begin(&self, phase: Phase, rows: u64, row_bytes: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        state.end_bar();
        *state = State { phase, rows, row_bytes, done: 0, head_start: None, began: now, shown: now, bar: None };
        match self.mode {
            ProgressMode::Bar => state.bar = self.bars.as_ref().map(|bars| bars.add(bar_of(phase, rows))),
            ProgressMode::Plain if rows > 0 => line(&format!("{} {} rows", phase.name(), thousands(rows))),
            ProgressMode::Plain => line(phase.name()),
            ProgressMode::Json => line(&state.json()),
            ProgressMode::None | ProgressMode::Auto => {}
        }
    }

    fn advance(&self, rows: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.head_start.get_or_insert(rows);
        state.done += rows;
        if let Some(bar) = &state.bar {
            bar.set_position(state.done);
            bar.set_message(state.speed());
            return;
        }
        if state.shown.elapsed() < INTERVAL && state.done < state.rows {
            return;
        }
        state.shown = Instant::now();
        match self.mode {
            ProgressMode::Plain => line(&state.text()),
            ProgressMode::Json => line(&state.json()),
            _ => {}
        }
    }
}

impl Reporter {
    fn hear(&self, event: Transfer<'_>) {
        let mut transfers = self.transfers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Transfer::Begin { files, bytes, landed } = event {
            // What was shown before the first file is over.
            self.state.lock().unwrap_or_else(PoisonError::into_inner).end_bar();
            *transfers = Some(Transfers::new(files, bytes, landed, self.bars.as_ref()));
        }
        let Some(transfers) = &mut *transfers else {
            // Before the first file there is nothing to count, but a note may be told.
            if let (ProgressMode::Bar | ProgressMode::Plain, Some(text)) = (self.mode, sentence(event)) {
                say(&text, self.bars.as_ref());
            }
            return;
        };
        transfers.hear(event, self.bars.as_ref());
        let is_told = match self.mode {
            ProgressMode::Json => matches!(event, Transfer::Begin { .. }) || transfers.lines.is_due(),
            _ => matches!(event, Transfer::Bytes { .. }) && transfers.lines.is_due(),
        };
        let far = is_told.then(|| (Some(transfers.text()), transfers.json()));
        self.show(sentence(event), event_json(event), far);
    }

    /// Shows what has happened, in a sentence or as JSON, and how far the work is where it is time to tell.
    fn show(&self, sentence: Option<String>, event: Option<Value>, far: Option<(Option<String>, Value)>) {
        match self.mode {
            ProgressMode::Bar | ProgressMode::Plain => {
                if let Some(text) = sentence {
                    say(&text, self.bars.as_ref());
                }
                if let (ProgressMode::Plain, Some((Some(text), _))) = (self.mode, far) {
                    line(&text);
                }
            }
            ProgressMode::Json => {
                for value in event.into_iter().chain(far.map(|(_, json)| json)) {
                    line(&value.to_string());
                }
            }
            ProgressMode::None | ProgressMode::Auto => {}
        }
    }
}

impl State {
    fn end_bar(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }

    fn bytes_per_second(&self) -> f64 {
        let done = self.done.saturating_sub(self.head_start.unwrap_or(0));
        (done * self.row_bytes) as f64 / self.began.elapsed().as_secs_f64().max(1e-3)
    }

    fn seconds_left(&self) -> Option<f64> {
        let speed = self.bytes_per_second();
        (speed > 0.0).then(|| (self.rows.saturating_sub(self.done) * self.row_bytes) as f64 / speed)
    }

    fn speed(&self) -> String {
        let speed = megabytes(self.bytes_per_second() as u64);
        match self.seconds_left() {
            Some(left) => format!("{speed}/s, {left:.0} s left"),
            None => format!("{speed}/s"),
        }
    }

    fn text(&self) -> String {
        let percent = 100 * self.done / self.rows.max(1);
        let (done, rows) = (thousands(self.done), thousands(self.rows));
        format!("{} {done} of {rows} rows ({percent} %), {}", self.phase.name(), self.speed())
    }

    fn json(&self) -> String {
        json!({
            "phase": self.phase.name(),
            "rows": self.rows,
            "done": self.done,
            "fraction": if self.rows > 0 { Some(self.done as f64 / self.rows as f64) } else { None },
            "bytes_per_second": self.bytes_per_second(),
            "seconds_left": self.seconds_left(),
        })
        .to_string()
    }
}

fn bar_of(phase: Phase, rows: u64) -> ProgressBar {
    if rows == 0 {
        let spinner = ProgressBar::new_spinner().with_message(phase.name());
        spinner.enable_steady_tick(Duration::from_millis(100));
        return spinner;
    }
    let template = "{prefix} {bar:30} {human_pos}/{human_len} rows  {msg}";
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(rows).with_style(style).with_prefix(phase.name())
}

fn line(text: &str) {
    // With stderr closed there is nobody left to tell.
    let _ = writeln!(stderr().lock(), "{text}");
}
