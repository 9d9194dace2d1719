//! Texts and bytes in all their spellings.

use std::borrow::Cow;

use super::decode::{Coding, decode_all, hex};
use super::error::PickleError;
use super::op::Form;
use super::source::Source;

/// How the bytes of a bytes object are spelled; `None` for a `str`.
pub(super) fn coding_of(form: Form) -> Option<Coding> {
    match form {
        Form::Bytes | Form::Py2 => Some(Coding::Raw),
        Form::Py2Repr => Some(Coding::PythonRepr),
        Form::BytesUtf8 => Some(Coding::Utf8Latin1),
        Form::BytesEscaped => Some(Coding::RawUnicodeEscape),
        Form::Str | Form::StrEscaped | Form::StrMade => None,
    }
}

pub(super) fn read_span(source: &dyn Source, offset: u64, len: u64) -> Result<Vec<u8>, PickleError> {
    let mut bytes = vec![0; len as usize];
    let mut done = 0;
    while done < bytes.len() {
        let at = offset + done as u64;
        match source.read_at(at, &mut bytes[done..]) {
            Ok(0) => return Err(PickleError::Truncated { offset: at }),
            Ok(read) => done += read,
            Err(source) => return Err(PickleError::Io { offset: at, source }),
        }
    }
    Ok(bytes)
}

/// A `str`, or a Python 2 string that is one: UTF-8 if it can be, else Latin-1. Lone surrogates become U+FFFD.
pub(super) fn to_text(form: Form, encoded: &[u8]) -> Option<Cow<'_, str>> {
    match form {
        // Much faster than the lossy way where nothing is lost.
        Form::Str | Form::StrMade => match str::from_utf8(encoded) {
            Ok(text) => Some(text.into()),
            Err(_) => Some(String::from_utf8_lossy(encoded)),
        },
        Form::StrEscaped => unescape(encoded).map(Cow::from),
        Form::Py2 => Some(utf8_or_latin1(encoded)),
        Form::Py2Repr => {
            decode_all(Coding::PythonRepr, encoded).map(|bytes| utf8_or_latin1(&bytes).into_owned().into())
        }
        Form::Bytes | Form::BytesUtf8 | Form::BytesEscaped => None,
    }
}

/// Whether the U+FFFD in a text was there before and stands for nothing that was lost.
pub(super) fn has_replacement(form: Form, encoded: &[u8]) -> bool {
    match form {
        Form::StrEscaped => encoded.windows(6).any(|window| window.eq_ignore_ascii_case(br"\ufffd")),
        _ => str::from_utf8(encoded).is_ok(),
    }
}

fn utf8_or_latin1(bytes: &[u8]) -> Cow<'_, str> {
    match str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => bytes.iter().copied().map(char::from).collect::<String>().into(),
    }
}

/// Python's `raw-unicode-escape`; a surrogate pair, as narrow builds of Python 2 write it, is joined.
fn unescape(encoded: &[u8]) -> Option<String> {
    let mut units = Vec::with_capacity(encoded.len());
    let mut rest = encoded;
    while let Some((&first, tail)) = rest.split_first() {
        let digits = match (first, tail.first()) {
            (b'\\', Some(b'u')) => 4,
            (b'\\', Some(b'U')) => 8,
            (b'\\', Some(&second)) => {
                units.extend([u16::from(first), u16::from(second)]);
                rest = &tail[1..];
                continue;
            }
            _ => {
                units.push(first.into());
                rest = tail;
                continue;
            }
        };
        let code = hex(tail.get(1..=digits)?)?;
        match u16::try_from(code) {
            Ok(unit) => units.push(unit),
            Err(_) => units.extend_from_slice(char::from_u32(code)?.encode_utf16(&mut [0; 2])),
        }
        rest = &tail[1 + digits..];
    }
    Some(String::from_utf16_lossy(&units))
}
