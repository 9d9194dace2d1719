//! Pages as the library reads them, checked for what it takes on trust: how large a page claims to be, how many values
//! a dictionary has, and that there is one where indices need it.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;
use parquet::basic::Encoding;
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};
use parquet::file::serialized_reader::SerializedPageReader;

/// Pages are read whole. Writers cut them at 1 MiB by default, and none is known that goes beyond 100 MB.
const MOST_BYTES: u64 = 256 << 20;
/// A page with no values is not larger than this.
const EMPTY_BYTES: u64 = 64 << 10;

/// A file whose pages are only so large.
#[derive(Debug)]
pub(super) struct PageFile {
    file: Arc<File>,
    most: u64,
}

impl PageFile {
    /// For a column chunk of so many values of `size` bytes; their levels take 4 bytes more at most.
    pub(super) fn new(file: &Arc<File>, values: u64, size: usize) -> Self {
        let most = values.saturating_mul(size as u64 + 4).saturating_add(EMPTY_BYTES).min(MOST_BYTES);
        PageFile { file: Arc::clone(file), most }
    }
}

impl Length for PageFile {
    fn len(&self) -> u64 {
        self.file.metadata().map_or(0, |metadata| metadata.len())
    }
}

impl ChunkReader for PageFile {
    type T = BufReader<Header>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        let header = Header { file: Arc::clone(&self.file), most: self.most, start, at: start };
        Ok(BufReader::with_capacity(1024, header))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, start)?;
        Ok(bytes.into())
    }
}

/// The header of a page, which is all that is read in this way.
#[derive(Debug)]
pub(super) struct Header {
    file: Arc<File>,
    most: u64,
    start: u64,
    at: u64,
}

impl Read for Header {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(out, self.at)?;
        if self.at == self.start
            && let Some(size) = unpacked_size(&out[..read])
            && size > self.most
        {
            return Err(io::Error::other(format!("a page claims {size} bytes, {} would be many", self.most)));
        }
        self.at += read as u64;
        Ok(read)
    }
}

/// The second field of a page header in Thrift's compact protocol: i32s with the ids 1 and 2, as zigzag varints.
fn unpacked_size(header: &[u8]) -> Option<u64> {
    const I32_NEXT_ID: u8 = 0x15;
    fn varint(bytes: &mut &[u8]) -> Option<u64> {
        let mut value = 0;
        for shift in (0..35).step_by(7) {
            let (&byte, rest) = bytes.split_first()?;
            *bytes = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }
    let mut rest = header.strip_prefix(&[I32_NEXT_ID])?;
    varint(&mut rest)?;
    rest = rest.strip_prefix(&[I32_NEXT_ID])?;
    let zigzag = varint(&mut rest)?;
    // A negative size is the library's to refuse.
    zigzag.is_multiple_of(2).then_some(zigzag / 2)
}

/// The pages of a column chunk.
pub(super) struct Pages {
    inner: SerializedPageReader<PageFile>,
    size: usize,
    has_dictionary: bool,
}

impl Pages {
    pub(super) fn new(inner: SerializedPageReader<PageFile>, size: usize) -> Self {
        Pages { inner, size, has_dictionary: false }
    }
}

impl PageReader for Pages {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let page = self.inner.get_next_page()?;
        match &page {
            Some(Page::DictionaryPage { buf, num_values, .. }) => {
                if (*num_values as usize).saturating_mul(self.size) > buf.len() {
                    let what = format!("a dictionary of {num_values} values has {} bytes", buf.len());
                    return Err(ParquetError::General(what));
                }
                self.has_dictionary = true;
            }
            Some(page) => {
                let needs_dictionary = matches!(page.encoding(), Encoding::PLAIN_DICTIONARY | Encoding::RLE_DICTIONARY);
                if needs_dictionary && !self.has_dictionary {
                    return Err(ParquetError::General("a page needs a dictionary, and there is none".into()));
                }
            }
            None => {}
        }
        Ok(page)
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.inner.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.inner.skip_next_page()
    }

    fn at_record_boundary(&mut self) -> Result<bool> {
        self.inner.at_record_boundary()
    }
}

impl Iterator for Pages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_size_of_a_page_is_read_from_its_header() {
        assert_eq!(unpacked_size(&[0x15, 0, 0x15, 0x80, 0x80, 0x40, 0x15, 2]), Some(1 << 19));
        assert_eq!(unpacked_size(&[0x15, 0, 0x15, 0x81, 0x01]), None, "negative");
        assert_eq!(unpacked_size(&[0x15, 0, 0x15, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), None, "too long");
        assert_eq!(unpacked_size(&[0x15, 0, 0x25]), None);
        assert_eq!(unpacked_size(&[]), None);
    }
}
