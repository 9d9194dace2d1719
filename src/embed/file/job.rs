//! A file from end to end.

use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Instant;

use super::encode::encode;
use super::error::FileError;
use super::existing::{Existing, look};
use super::provenance::Provenance;
use super::reader::Reader;
use super::report::FileReport;
use super::stop::Stop;
use super::window::{Embedded, Window};
use super::writer::{Writer, column_name};
use crate::embed::embedder::Embedder;

/// A file to embed.
pub(in crate::embed) struct FileJob<'a> {
    pub(in crate::embed) input: &'a Path,
    pub(in crate::embed) output: &'a Path,
    /// Whether an output that is there is replaced, whatever it holds.
    pub(in crate::embed) force: bool,
    /// Names what is written until it is whole.
    pub(in crate::embed) worker: &'a str,
}

/// What became of a file.
pub(in crate::embed) enum Outcome {
    /// It has its embeddings now.
    Embedded(FileReport),
    /// It had them.
    Skipped,
}

/// What is told on the way.
pub(in crate::embed) trait Audience: Sync {
    /// The work on a file of so many rows begins.
    fn begin(&self, rows: u64);
    /// So many rows more are encoded.
    fn advance(&self, rows: u64);
    /// What a person should know.
    fn note(&self, text: &str);
}

impl FileJob<'_> {
    /// Writes the output, unless a valid one is there.
    ///
    /// # Errors
    /// Whatever keeps the file from its embeddings; the output is then what it was.
    pub(in crate::embed) fn run(
        &self,
        embedder: &Embedder,
        stop: Stop<'_>,
        audience: &dyn Audience,
    ) -> Result<Outcome, FileError> {
        let began = Instant::now();
        let dim = embedder.engine.dim();
        let input = Reader::open(self.input, embedder.text_column.as_deref())?;
        let made = Provenance::new(&embedder.model, &*embedder.engine, &input.text_column_name, input.bytes);
        self.check(&input, dim)?;
        if !self.force {
            match look(self.output, input.rows, &made, dim)? {
                Existing::Valid => return Ok(Outcome::Skipped),
                Existing::Invalid(why) => audience.note(&format!("{}: {why}; it is made again", self.output.display())),
                Existing::Missing => {}
            }
        }
        audience.begin(input.rows);
        let writer = Writer::create(self.output, self.worker, &input, dim, &made)?;
        let (writer, mut report) = self.pump(embedder, input, writer, stop, audience)?;
        // The last moment to see that the job is another's.
        stop.check(self.input)?;
        writer.publish()?;
        report.seconds = began.elapsed().as_secs_f64();
        Ok(Outcome::Embedded(report))
    }

    fn check(&self, input: &Reader, dim: usize) -> Result<(), FileError> {
        let is_same = match (self.input.canonicalize(), self.output.canonicalize()) {
            (Ok(input), Ok(output)) => input == output,
            _ => self.input == self.output,
        };
        if is_same {
            return Err(FileError::SameFile { path: self.input.to_path_buf() });
        }
        match (0..dim).map(column_name).find(|name| input.schema.field_with_name(name).is_ok()) {
            Some(name) => Err(FileError::HasEmbeddings { path: self.input.to_path_buf(), name }),
            None => Ok(()),
        }
    }

    /// Reads, encodes and writes side by side; each stage hands over to the next, so that three windows are held.
    fn pump(
        &self,
        embedder: &Embedder,
        input: Reader,
        writer: Writer,
        stop: Stop<'_>,
        audience: &dyn Audience,
    ) -> Result<(Writer, FileReport), FileError> {
        let (to_encode, windows) = sync_channel::<Window>(0);
        let (to_write, embedded) = sync_channel::<Embedded>(0);
        thread::scope(|scope| {
            let reading = scope.spawn(move || read(input, embedder, &to_encode));
            let writing = scope.spawn(move || write(writer, &embedded));
            let mut report = FileReport::default();
            let encoding = self.encode_all(embedder, windows, &to_write, stop, audience, &mut report);
            drop(to_write);
            let reading = reading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            let writing = writing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            encoding.and(reading)?;
            Ok((writing?, report))
        })
    }

    fn encode_all(
        &self,
        embedder: &Embedder,
        windows: Receiver<Window>,
        to_write: &SyncSender<Embedded>,
        stop: Stop<'_>,
        audience: &dyn Audience,
        report: &mut FileReport,
    ) -> Result<(), FileError> {
        for window in windows {
            report.rows += window.tokens.len() as u64;
            report.empty += window.empty;
            report.truncated += window.tokens.iter().filter(|tokens| tokens.truncated).count() as u64;
            report.tokens += window.tokens.iter().map(|tokens| tokens.ids.len() as u64).sum::<u64>();
            let embedded = encode(embedder, self.input, window, stop, &|rows| audience.advance(rows))?;
            if to_write.send(embedded).is_err() {
                // The writer has ended, and tells why.
                break;
            }
        }
        Ok(())
    }
}

fn read(mut input: Reader, embedder: &Embedder, to_encode: &SyncSender<Window>) -> Result<(), FileError> {
    while let Some(window) = input.window(embedder.model.tokenizer())? {
        if to_encode.send(window).is_err() {
            // The encoder has ended, and tells why.
            break;
        }
    }
    Ok(())
}

fn write(mut writer: Writer, embedded: &Receiver<Embedded>) -> Result<Writer, FileError> {
    while let Ok(window) = embedded.recv() {
        writer.write(&window)?;
    }
    Ok(writer)
}
