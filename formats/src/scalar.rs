//! One element of an array as a plain value: how containers that hold nothing but arrays say a number or a text.

use half::{bf16, f16};
use serde_json::{Number, Value};

use crate::dtype::ByteOrder;

/// Longest element that is read, in bytes; a numpy text takes 4 a character.
pub(crate) const LONGEST: u64 = 64 << 10;

/// The fields in which a checkpoint says where its rows belong, as integers.
pub(crate) const INTEGER_FIELDS: [&str; 4] = ["start_index", "end_index", "cluster_id", "gpu_id"];

/// The kinds of elements that have a value in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Bool,
    Int,
    Unsigned,
    Float,
    Bfloat,
    /// Bytes of text, padded with zeros.
    Bytes,
    /// UTF-32, padded with zeros.
    Text,
}

impl Kind {
    /// The kind of numpy's type `name`, for example `int64`.
    pub(crate) fn of_name(name: &str) -> Option<Self> {
        match name.trim_end_matches(|c: char| c.is_ascii_digit()) {
            "bool" => Some(Kind::Bool),
            "int" => Some(Kind::Int),
            "uint" => Some(Kind::Unsigned),
            "float" => Some(Kind::Float),
            "bfloat" => Some(Kind::Bfloat),
            _ => None,
        }
    }
}

/// The value of one element. Floats that JSON lacks are text; `None` for a size that the kind does not have.
pub(crate) fn value(kind: Kind, order: ByteOrder, bytes: &[u8]) -> Option<Value> {
    let mut little = bytes.to_vec();
    let unit = if kind == Kind::Text { 4 } else { little.len().max(1) };
    if order == ByteOrder::Big && kind != Kind::Bytes {
        little.chunks_mut(unit).for_each(<[u8]>::reverse);
    }
    Some(match kind {
        Kind::Bool => Value::Bool(*little.first()? != 0),
        Kind::Int => match *little.as_slice() {
            [a] => Value::from(i8::from_le_bytes([a])),
            [a, b] => Value::from(i16::from_le_bytes([a, b])),
            [a, b, c, d] => Value::from(i32::from_le_bytes([a, b, c, d])),
            _ => Value::from(i64::from_le_bytes(little.try_into().ok()?)),
        },
        Kind::Unsigned => {
            let mut wide = [0; 8];
            wide.get_mut(..little.len())?.copy_from_slice(&little);
            Value::from(u64::from_le_bytes(wide))
        }
        Kind::Float => float(match *little.as_slice() {
            [a, b] => f16::from_le_bytes([a, b]).into(),
            [a, b, c, d] => f32::from_le_bytes([a, b, c, d]).into(),
            _ => f64::from_le_bytes(little.try_into().ok()?),
        }),
        Kind::Bfloat => float(bf16::from_le_bytes(little.try_into().ok()?).into()),
        Kind::Bytes => Value::from(String::from_utf8_lossy(&little).trim_end_matches('\0')),
        Kind::Text => {
            let (units, _) = little.as_chunks::<4>();
            let text = units.iter().map(|unit| char::from_u32(u32::from_le_bytes(*unit)));
            let text: String = text.map(|char| char.unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
            Value::from(text.trim_end_matches('\0'))
        }
    })
}

fn float(value: f64) -> Value {
    Number::from_f64(value).map_or_else(|| Value::from(value.to_string().to_lowercase()), Value::Number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_of_every_kind_have_their_value() {
        use ByteOrder::{Big, Little};
        let of = |kind, order, bytes: &[u8]| value(kind, order, bytes).map(|value| value.to_string());
        assert_eq!(of(Kind::Int, Little, &(-5i64).to_le_bytes()).as_deref(), Some("-5"));
        assert_eq!(of(Kind::Int, Big, &300i16.to_be_bytes()).as_deref(), Some("300"));
        assert_eq!(of(Kind::Unsigned, Little, &u64::MAX.to_le_bytes()).as_deref(), Some("18446744073709551615"));
        assert_eq!(of(Kind::Float, Big, &0.5f32.to_be_bytes()).as_deref(), Some("0.5"));
        assert_eq!(of(Kind::Float, Little, &f64::NAN.to_le_bytes()).as_deref(), Some("\"nan\""));
        assert_eq!(of(Kind::Text, Big, b"\0\0\0m\0\x01\xf6\0\0\0\0\0").as_deref(), Some("\"m😀\""));
        assert_eq!(of(Kind::Bytes, Big, b"ab\0").as_deref(), Some("\"ab\""));
        assert_eq!(of(Kind::Int, Little, &[0; 3]), None);
        assert_eq!(of(Kind::Unsigned, Little, &[0; 9]), None);
    }
}
