//! numpy's scalars: an element's bytes with its dtype, read as the Python value that they equal.

use half::{bf16, f16};

use super::decode::decode_all;
use super::error::PickleError;
use super::machine::Machine;
use super::node::{DtypeNode, Node, NodeId};
use super::op::Form;
use super::text::read_span;

/// Longest numpy text that is read, in bytes of the file: a character takes 4, and up to 19 in protocol 0.
const LONGEST: u64 = 64 << 10;

impl Machine<'_> {
    /// `scalar(dtype, bytes)`; a type that has no Python value stays opaque.
    pub(super) fn scalar(&mut self, global: u32, args: &[NodeId]) -> Result<Option<Node>, PickleError> {
        let &[dtype, payload] = args else { return Ok(None) };
        let (&Node::Dtype(dtype), Some(span)) = (self.tree.node(dtype), self.tree.span(payload)) else {
            return Ok(None);
        };
        if dtype.letter == b'S' {
            return Ok(self.copy_text(payload));
        }
        if span.encoded_len > LONGEST {
            return Ok(Some(Node::Opaque(global)));
        }
        let encoded = read_span(self.source, span.offset, span.encoded_len)?;
        let Some(mut bytes) = decode_all(span.coding, &encoded) else { return Ok(None) };
        if dtype.size > 0 && bytes.len() != dtype.size as usize {
            return Err(self.lying("a scalar is not as long as its dtype"));
        }
        if dtype.letter == b'U' {
            return Ok(Some(self.numpy_text(dtype, span.offset, &bytes)));
        }
        if dtype.order == b'>' {
            let half = if dtype.letter == b'c' { bytes.len() / 2 } else { bytes.len() };
            bytes.chunks_mut(half.max(1)).for_each(<[u8]>::reverse);
        }
        Ok(Some(self.number(dtype.letter, &bytes).unwrap_or(Node::Opaque(global))))
    }

    /// A number from its little-endian bytes.
    fn number(&mut self, letter: u8, bytes: &[u8]) -> Option<Node> {
        Some(match (letter, bytes) {
            (b'b', &[value]) => Node::Bool(value != 0),
            (b'i', _) => Node::Int(super::number::small(bytes)?),
            (b'u', _) => {
                let mut whole = [0; 8];
                whole.get_mut(..bytes.len())?.copy_from_slice(bytes);
                let value = u64::from_le_bytes(whole);
                match i64::try_from(value) {
                    Ok(value) => Node::Int(value),
                    Err(_) => Node::BigInt(self.tree.arena.add_text(value.to_string().as_bytes())),
                }
            }
            (b'c', _) => {
                let (re, im) = bytes.split_at(bytes.len() / 2);
                Node::Complex { re: float(re)?, im: float(im)? }
            }
            (DtypeNode::BFLOAT16, &[low, high]) => Node::Float(bf16::from_le_bytes([low, high]).into()),
            (b'f', _) => Node::Float(float(bytes)?),
            _ => return None,
        })
    }

    /// A `numpy.str_`: UTF-32, padded with zeros.
    fn numpy_text(&mut self, dtype: DtypeNode, offset: u64, bytes: &[u8]) -> Node {
        let units = bytes.chunks_exact(4).map(|unit| match (unit.try_into(), dtype.order) {
            (Ok(unit), b'>') => u32::from_be_bytes(unit),
            (Ok(unit), _) => u32::from_le_bytes(unit),
            (Err(_), _) => 0,
        });
        let text: String = units.map(|unit| char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
        let at = self.tree.arena.add_text(text.trim_end_matches('\0').as_bytes());
        Node::Text { form: Form::StrMade, start: at.start, offset, len: at.len.into() }
    }
}

fn float(bytes: &[u8]) -> Option<f64> {
    Some(match *bytes {
        [a, b] => f16::from_le_bytes([a, b]).into(),
        [a, b, c, d] => f32::from_le_bytes([a, b, c, d]).into(),
        _ => f64::from_le_bytes(bytes.try_into().ok()?),
    })
}
