//! One member, stream or frame of any codec but lz4, in steps from buffer to buffer.
//!
//! The steps know when a stream ends; the readers of the same libraries hide it, and take data that was cut off between
//! two blocks for whole.

use flate2::{Decompress, FlushDecompress, Status};
use liblzma::stream::{Action, Error as LzmaError, Status as LzmaStatus, Stream};
use zstd::stream::raw::{DParameter, Decoder as ZstdDecoder, Operation};

use super::codec::Codec;

/// Decoders that need no more are used side by side.
pub(super) const SMALL: u32 = 23;
/// Decoders that need more than this are not used at all: zstd's own limit, and twice what xz -9 needs.
pub(super) const LARGE: u32 = 27;

/// What keeps a stream from being decoded.
#[derive(Debug)]
pub(super) enum Fault {
    /// It is damaged; the library's word for it.
    Damaged(String),
    /// It needs a larger window than it was allowed.
    TooMuchMemory,
}

/// How far one step got.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) read: usize,
    pub(super) written: usize,
    /// The stream has ended, and its checksum was right.
    pub(super) ended: bool,
}

pub(super) enum Decoder {
    Deflate(Box<Decompress>),
    Bzip2(bzip2::Decompress),
    Lzma(Stream),
    Zstd(ZstdDecoder<'static>),
}

impl Decoder {
    /// A decoder for one stream, which may look back `2^window_log` bytes.
    pub(super) fn new(codec: Codec, window_log: u32) -> Result<Decoder, Fault> {
        // What the decoder needs beside its dictionary is well below a MiB.
        let memory = (1u64 << window_log) + (1 << 20);
        let damaged = |error: std::io::Error| Fault::Damaged(error.to_string());
        Ok(match codec {
            Codec::Gzip => Decoder::Deflate(Box::new(Decompress::new_gzip(15))),
            Codec::Zlib => Decoder::Deflate(Box::new(Decompress::new(true))),
            Codec::Bzip2 => Decoder::Bzip2(bzip2::Decompress::new(false)),
            Codec::Xz => Decoder::Lzma(Stream::new_stream_decoder(memory, 0).map_err(lzma_fault)?),
            Codec::Lzma => Decoder::Lzma(Stream::new_lzma_decoder(memory).map_err(lzma_fault)?),
            Codec::Zstd => {
                let mut decoder = ZstdDecoder::new().map_err(damaged)?;
                decoder.set_parameter(DParameter::WindowLogMax(window_log)).map_err(damaged)?;
                Decoder::Zstd(decoder)
            }
            Codec::Lz4 => return Err(Fault::Damaged("lz4 is decoded by its own reader".into())),
        })
    }

    pub(super) fn step(&mut self, input: &[u8], out: &mut [u8]) -> Result<Step, Fault> {
        match self {
            Decoder::Deflate(stream) => {
                let before = (stream.total_in(), stream.total_out());
                let status = stream
                    .decompress(input, out, FlushDecompress::None)
                    .map_err(|error| Fault::Damaged(error.message().unwrap_or("corrupt deflate data").into()))?;
                Ok(since(before, (stream.total_in(), stream.total_out()), status == Status::StreamEnd))
            }
            Decoder::Bzip2(stream) => {
                let before = (stream.total_in(), stream.total_out());
                let status = stream.decompress(input, out).map_err(|error| Fault::Damaged(error.to_string()))?;
                Ok(since(before, (stream.total_in(), stream.total_out()), status == bzip2::Status::StreamEnd))
            }
            Decoder::Lzma(stream) => {
                let before = (stream.total_in(), stream.total_out());
                let status = stream.process(input, out, Action::Run).map_err(lzma_fault)?;
                Ok(since(before, (stream.total_in(), stream.total_out()), status == LzmaStatus::StreamEnd))
            }
            Decoder::Zstd(decoder) => match decoder.run_on_buffers(input, out) {
                Ok(status) => {
                    let (read, written) = (status.bytes_read, status.bytes_written);
                    Ok(Step { read, written, ended: status.remaining == 0 })
                }
                Err(error) if error.to_string().contains("too much memory") => Err(Fault::TooMuchMemory),
                Err(error) => Err(Fault::Damaged(error.to_string())),
            },
        }
    }
}

fn since(before: (u64, u64), now: (u64, u64), ended: bool) -> Step {
    Step { read: (now.0 - before.0) as usize, written: (now.1 - before.1) as usize, ended }
}

fn lzma_fault(error: LzmaError) -> Fault {
    match error {
        LzmaError::MemLimit | LzmaError::Mem => Fault::TooMuchMemory,
        error => Fault::Damaged(error.to_string()),
    }
}
