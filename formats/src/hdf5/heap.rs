//! Texts of variable length, read from the file without the library: what is damaged is an error here, while the library
//! (1.10 at least) follows a bad reference out of its memory.
//!
//! ```text
//! element:     length (u32) │ address of a collection (u64) │ index in it (u32)
//! collection:  "GCOL" │ version 1 │ 3 reserved │ size (u64) │ objects …
//! object:      index (u16) │ references (u16) │ 4 reserved │ size (u64) │ bytes, filled up to a multiple of 8
//!              index 0: the rest of the collection is free
//! ```
//!
//! All little-endian. Specification: <https://docs.hdfgroup.org/hdf5/v1_14/_f_m_t3.html>, III.E (global heap) and IV.A.2.d
//! (variable-length types). Accepted: offsets and lengths of eight bytes, which is what the library writes by default.

use std::collections::HashMap;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// Bytes of an element of a dataset of texts.
const REFERENCE: u64 = 16;
/// Bytes before the objects of a collection, and before the bytes of an object.
const HEADER: u64 = 16;
/// Collections are 4 KiB, or as large as one text. Anything larger is damage.
const MOST: u64 = 1 << 30;

/// The texts of one dataset, which lies in one run.
pub(super) struct HeapTexts<'a> {
    file: &'a File,
    len: u64,
    /// Where the addresses count from.
    base: u64,
    /// Where the elements begin.
    elements: u64,
    collection: Option<(u64, Collection)>,
}

/// A collection and where its objects lie in it.
struct Collection {
    bytes: Vec<u8>,
    objects: HashMap<u32, Range<usize>>,
}

impl<'a> HeapTexts<'a> {
    /// The texts whose elements begin at byte `elements` of `file`; addresses count from byte `base`.
    pub(super) fn new(file: &'a File, base: u64, elements: u64) -> std::io::Result<Self> {
        let len = file.metadata()?.len();
        Ok(HeapTexts { file, len, base, elements, collection: None })
    }

    /// Reads `count` texts from number `first` on. An error says what is damaged, and where.
    pub(super) fn read(&mut self, first: u64, count: u64) -> Result<Vec<Vec<u8>>, String> {
        let at = self.elements + first * REFERENCE;
        let mut elements = vec![0; (count * REFERENCE) as usize];
        self.file.read_exact_at(&mut elements, at).map_err(|error| format!("cannot be read at byte {at}: {error}"))?;
        let (elements, _) = elements.as_chunks::<{ REFERENCE as usize }>();
        elements.iter().zip(first..).map(|(element, number)| self.text(element, number)).collect()
    }

    fn text(&mut self, element: &[u8; REFERENCE as usize], number: u64) -> Result<Vec<u8>, String> {
        let [a, b, c, d, address @ .., e, f, g, h] = *element;
        let (length, index) = (u32::from_le_bytes([a, b, c, d]) as usize, u32::from_le_bytes([e, f, g, h]));
        let address = u64::from_le_bytes(address);
        if length == 0 {
            return Ok(Vec::new());
        }
        if self.collection.as_ref().is_none_or(|(held, _)| *held != address) {
            self.collection = Some((address, self.collection_at(address)?));
        }
        let found = self.collection.as_ref().and_then(|(_, collection)| {
            let object = collection.objects.get(&index)?;
            collection.bytes[object.clone()].get(..length)
        });
        let lost = || format!("text {number} is not at index {index} of the heap at byte {}", self.base + address);
        Ok(found.ok_or_else(lost)?.to_vec())
    }

    fn collection_at(&self, address: u64) -> Result<Collection, String> {
        let at = self.base.saturating_add(address);
        let damaged = || format!("the heap of texts at byte {at} is damaged");
        let mut header = [0; HEADER as usize];
        self.file.read_exact_at(&mut header, at).map_err(|_| damaged())?;
        let [b'G', b'C', b'O', b'L', 1, _, _, _, size @ ..] = header else { return Err(damaged()) };
        let size = u64::from_le_bytes(size);
        if !(HEADER..=MOST.min(self.len.saturating_sub(at))).contains(&size) {
            return Err(damaged());
        }
        let mut bytes = vec![0; size as usize];
        self.file.read_exact_at(&mut bytes, at).map_err(|_| damaged())?;
        let mut objects = HashMap::new();
        let mut next = HEADER as usize;
        while let Some(object) = bytes.get(next..next + HEADER as usize) {
            let index = u32::from(u16::from_le_bytes([object[0], object[1]]));
            if index == 0 {
                break;
            }
            let size = object[8..].iter().rev().fold(0u64, |value, byte| value << 8 | u64::from(*byte));
            let start = next + HEADER as usize;
            let end = usize::try_from(size).ok().and_then(|size| start.checked_add(size));
            let end = end.filter(|end| *end <= bytes.len()).ok_or_else(damaged)?;
            objects.insert(index, start..end);
            next = end.next_multiple_of(8);
        }
        Ok(Collection { bytes, objects })
    }
}
