//! A compressed file into its spool, in one pass.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use lz4_flex::frame::FrameDecoder;

use super::codec::Codec;
use super::decoder::{Decoder, Fault, LARGE, SMALL};
use super::input::Input;
use super::spool::{Full, Spool};
use crate::error::{FormatError, is_out_of_descriptors};
use crate::format::{LocateOptions, Probe, recognise, recognise_unpacked};
use crate::unpacked::{Unpacked, unknown};

/// Bytes that are decoded at a time.
const BLOCK: usize = 128 << 10;

/// Held while a decoder needs much memory: what is needed does not grow with the threads.
static LARGE_WINDOW: Mutex<()> = Mutex::new(());

const DAMAGED: &str = "the file is damaged: fetch it again, or compress it again";
const FREE_SPACE: &str = "free some space there, or unpack the file on another disk first";

/// Why a file was not unpacked.
enum Failure {
    /// Its codec says so, at this byte of the compressed file.
    Decoder(Fault, u64),
    /// It ends within a stream.
    Early(u64),
    /// Behind its last stream is something else.
    Trailing(u64),
    Spool(Full),
    Read(io::Error),
    /// It begins like nothing that could be used.
    Unknown(String, &'static str),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::Read(error)
    }
}

/// Unpacks `path` into a nameless file in the scratch folder.
pub(super) fn unpack(path: &Path, options: &LocateOptions) -> Result<Unpacked, FormatError> {
    let file = File::open(path).map_err(FormatError::io("open", path))?;
    let probe = Probe::of_file(&file).map_err(FormatError::io("read", path))?;
    let Some(codec) = Codec::of(&probe.head) else {
        return Err(error(path, "the file is not compressed any more".into(), "something writes to it: let it finish"));
    };
    let folder = &options.scratch;
    let mut spool = Spool::create(folder).map_err(|source| {
        let what = format!("cannot be unpacked in {}: {source}", folder.display());
        error(path, what, create_hint(&source))
    })?;
    let mut result = decode(codec, &file, &mut spool, SMALL);
    if let Err(Failure::Decoder(Fault::TooMuchMemory, _)) = result {
        let _one_at_a_time = LARGE_WINDOW.lock().unwrap_or_else(PoisonError::into_inner);
        result = spool.restart().map_err(Failure::Read).and_then(|()| decode(codec, &file, &mut spool, LARGE));
    }
    match result {
        Ok(()) => Ok(Unpacked::new(path, codec.name(), Arc::new(spool.into_file()))),
        Err(failure) => Err(told(failure, path, codec, &spool, folder)),
    }
}

/// Stream after stream, until the file ends.
fn decode(codec: Codec, file: &File, spool: &mut Spool, window_log: u32) -> Result<(), Failure> {
    let mut input = Input::new(file);
    let mut buf = vec![0; BLOCK];
    let mut is_first = true;
    loop {
        while !is_first && codec.is_padded() && input.peek(1)?.first() == Some(&0) {
            let zeros = input.peek(1)?.iter().take_while(|byte| **byte == 0).count();
            input.skip(zeros as u64);
        }
        let head = input.peek(8)?;
        if head.is_empty() && !is_first {
            return Ok(());
        }
        if let Some(len) = codec.skipped(head) {
            skip(&mut input, len, file)?;
            is_first = false;
            continue;
        }
        if !is_first && !codec.continues(head) {
            return Err(Failure::Trailing(input.offset()));
        }
        match codec {
            Codec::Lz4 => lz4_frame(&mut input, spool, &mut buf)?,
            codec => stream(codec, &mut input, spool, &mut buf, window_log)?,
        }
        is_first = false;
    }
}

/// A frame without content.
fn skip(input: &mut Input<'_>, len: u64, file: &File) -> Result<(), Failure> {
    let end = file.metadata()?.len();
    if input.offset().checked_add(len).is_none_or(|after| after > end) {
        return Err(Failure::Early(end));
    }
    input.skip(len);
    Ok(())
}

fn stream(
    codec: Codec,
    input: &mut Input<'_>,
    spool: &mut Spool,
    buf: &mut [u8],
    window_log: u32,
) -> Result<(), Failure> {
    let fault = |fault, at| Failure::Decoder(fault, at);
    let mut decoder = Decoder::new(codec, window_log).map_err(|error| fault(error, input.offset()))?;
    loop {
        let at = input.offset();
        let chunk = input.peek(1)?;
        let (is_end, before) = (chunk.is_empty(), spool.len());
        let step = decoder.step(chunk, buf).map_err(|error| fault(error, at))?;
        input.skip(step.read as u64);
        write(spool, &buf[..step.written])?;
        if step.ended {
            return Ok(());
        }
        if step.read == 0 && spool.len() == before {
            return Err(match is_end {
                true => Failure::Early(at),
                false => fault(Fault::Damaged("the decoder cannot go on".into()), at),
            });
        }
    }
}

fn lz4_frame(input: &mut Input<'_>, spool: &mut Spool, buf: &mut [u8]) -> Result<(), Failure> {
    let mut decoder = FrameDecoder::new(&mut *input);
    loop {
        match decoder.read(buf) {
            Ok(0) => break,
            Ok(read) => write(spool, &buf[..read])?,
            Err(_) if decoder.get_ref().starved => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => {
                return Err(Failure::Decoder(Fault::Damaged(error.to_string()), decoder.get_ref().offset()));
            }
        }
    }
    // The decoder takes a frame that ends between two blocks for whole; but a whole one ends without looking further.
    if input.starved { Err(Failure::Early(input.offset())) } else { Ok(()) }
}

/// Writes to the spool. What begins like nothing that could be used is not unpacked to its end.
fn write(spool: &mut Spool, bytes: &[u8]) -> Result<(), Failure> {
    let is_first = spool.len() < 512 && spool.len() + bytes.len() as u64 >= 512;
    spool.write(bytes).map_err(Failure::Spool)?;
    if is_first {
        let probe = Probe { len: u64::MAX, ..Probe::of_file(spool.file())? };
        if !recognise_unpacked(&probe) {
            let (found, hint) = recognise(&probe).err().unwrap_or(("compressed once more".into(), "unpack it first"));
            return Err(Failure::Unknown(found, hint));
        }
    }
    Ok(())
}

fn error(path: &Path, what: String, hint: &'static str) -> FormatError {
    FormatError::Container { path: path.to_path_buf(), what, hint }
}

fn create_hint(error: &io::Error) -> &'static str {
    if is_out_of_descriptors(error) {
        "every compressed input keeps a file open: allow more of them (ulimit -n), or unpack some of the files first"
    } else if error.kind() == io::ErrorKind::StorageFull {
        FREE_SPACE
    } else {
        "check that this folder can be written"
    }
}

fn told(failure: Failure, path: &Path, codec: Codec, spool: &Spool, folder: &Path) -> FormatError {
    let (name, so_far) = (codec.name(), spool.len());
    match failure {
        Failure::Early(at) => {
            let what = format!("the {name} data ends early, at byte {at} (compressed)");
            error(path, what, "the file was not written or copied completely: fetch it again")
        }
        Failure::Decoder(Fault::TooMuchMemory, at) => {
            let most = (1u64 << LARGE) >> 20;
            let what = format!("the {name} data at byte {at} (compressed) needs a window of more than {most} MiB");
            error(path, what, "unpack it first (zstd -d --long=31), or compress it with a smaller window")
        }
        Failure::Decoder(Fault::Damaged(why), at) => {
            let what =
                format!("the {name} data is damaged near byte {at} (compressed), after {so_far} unpacked bytes: {why}");
            error(path, what, DAMAGED)
        }
        Failure::Trailing(at) => {
            let what = format!("the {name} data ends at byte {at} (compressed), and something else follows");
            error(path, what, DAMAGED)
        }
        Failure::Spool(Full::Space(left)) => {
            let what = format!(
                "unpacks to more than {so_far} bytes, for which {} has no room ({left} bytes are left)",
                folder.display()
            );
            error(path, what, FREE_SPACE)
        }
        Failure::Spool(Full::Failed(source)) => {
            let what = format!("cannot be unpacked in {}, after {so_far} bytes: {source}", folder.display());
            error(path, what, "check the disk, then run it again")
        }
        Failure::Read(source) => FormatError::io("read", path)(source),
        Failure::Unknown(found, hint) => unknown(path, name, &found, hint),
    }
}
