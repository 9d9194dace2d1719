//! From bytes to opcodes; the payloads of long arguments are stepped over.
//!
//! Opcodes and their arguments: CPython `Lib/pickletools.py`. Every length is compared with the bytes that are left
//! before anything is sought or stored, so a lying length costs nothing.

use super::error::PickleError;
use super::number;
use super::op::{Form, Op};
use super::source::Source;
use super::window::Window;

/// Texts and bytes up to this size are kept in memory; longer ones are known by place and length.
pub(super) const INLINE: usize = 1024;
/// `LONG4` integers up to this size are read as numbers; 256 bytes are 616 decimal digits.
const LONGEST_INT: usize = 256;

pub(super) struct Lexer<'a> {
    window: Window<'a>,
    /// Argument bytes still in the window, before its position: how far back they begin, and how many they are.
    arg: (usize, usize),
    /// Arguments that had to be put together: globals and big integers.
    made: Vec<u8>,
    is_made: bool,
    at: u64,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(source: &'a dyn Source, offset: u64) -> Self {
        Lexer { window: Window::new(source, offset), arg: (0, 0), made: Vec::new(), is_made: false, at: offset }
    }

    pub(super) fn jump(&mut self, offset: u64) {
        self.window.jump(offset);
    }

    /// Offset of the next opcode.
    #[inline]
    pub(super) fn offset(&self) -> u64 {
        self.window.offset()
    }

    /// Offset of the opcode that was read last.
    #[inline]
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// The last opcode's argument, as far as [`Op`] says that there is one.
    #[inline]
    pub(super) fn arg(&self) -> &[u8] {
        if self.is_made { &self.made } else { &self.window.behind(self.arg.0)[..self.arg.1] }
    }

    #[inline]
    pub(super) fn next(&mut self) -> Result<Op, PickleError> {
        self.at = self.window.offset();
        let code = self.window.byte()?;
        Ok(match code {
            0x94 => Op::Memoize,
            b'h' => Op::Get(self.window.byte()?.into()),
            b'q' => Op::Put(self.window.byte()?.into()),
            0x8c => {
                let len = self.window.byte()?;
                self.text(Form::Str, len.into())?
            }
            b'X' => {
                let len = self.u32()?;
                self.text(Form::Str, len.into())?
            }
            b'(' => Op::Mark,
            b'}' => Op::EmptyDict,
            b'u' => Op::SetItems,
            b'G' => Op::Float(f64::from_be_bytes(self.window.array()?)),
            b'K' => Op::Int(self.window.byte()?.into()),
            b'M' => Op::Int(u16::from_le_bytes(self.window.array()?).into()),
            b'J' => Op::Int(i32::from_le_bytes(self.window.array()?).into()),
            b'j' => Op::Get(self.u32()?.into()),
            b'r' => Op::Put(self.u32()?.into()),
            b'N' => Op::None,
            0x88 => Op::Bool(true),
            0x89 => Op::Bool(false),
            b'e' => Op::Appends,
            b'a' => Op::Append,
            b']' => Op::EmptyList,
            b's' => Op::SetItem,
            b'U' => {
                let len = self.window.byte()?;
                self.text(Form::Py2, len.into())?
            }
            b'C' => {
                let len = self.window.byte()?;
                self.text(Form::Bytes, len.into())?
            }
            b'B' => {
                let len = self.u32()?;
                self.text(Form::Bytes, len.into())?
            }
            _ => return self.rare(code),
        })
    }

    /// Opcodes that occur a few times in a file, or in protocol 0.
    fn rare(&mut self, code: u8) -> Result<Op, PickleError> {
        Ok(match code {
            0x80 => self.proto()?,
            0x95 => {
                let len = self.u64()?;
                self.within(len)?;
                Op::Frame
            }
            b'.' => Op::Stop,
            b'0' => Op::Pop,
            b'1' => Op::PopMark,
            b'2' => Op::Dup,
            b'T' => {
                let len = u32::try_from(self.i32()?).map_err(|_| self.bad("string length"))?;
                self.text(Form::Py2, len.into())?
            }
            0x8d => {
                let len = self.u64()?;
                self.text(Form::Str, len)?
            }
            0x8e | 0x96 => {
                let len = self.u64()?;
                self.text(Form::Bytes, len)?
            }
            b'V' => {
                let offset = self.offset();
                let len = self.line()?;
                Op::Text { form: Form::StrEscaped, offset, len }
            }
            b'S' => self.quoted()?,
            0x8a => {
                let len = self.window.byte()?;
                self.long(len.into())?
            }
            0x8b => {
                let len = u32::try_from(self.i32()?).map_err(|_| self.bad("integer length"))?;
                self.long(len.into())?
            }
            b'I' => match self.short_line()? {
                b"00" => Op::Bool(false),
                b"01" => Op::Bool(true),
                _ => self.decimal()?,
            },
            b'L' => {
                self.short_line()?;
                self.decimal()?
            }
            b'F' => self.float()?,
            b'p' => Op::Put(self.memo_id()?),
            b'g' => Op::Get(self.memo_id()?),
            b')' => Op::EmptyTuple,
            b't' => Op::Tuple,
            0x85..=0x87 => Op::TupleOf(usize::from(code - 0x84)),
            b'l' => Op::List,
            b'd' => Op::Dict,
            0x8f => Op::EmptySet,
            0x90 => Op::AddItems,
            0x91 => Op::FrozenSet,
            b'c' => self.global(Op::Global)?,
            b'i' => self.global(Op::Inst)?,
            0x93 => Op::StackGlobal,
            b'R' => Op::Reduce,
            0x81 => Op::NewObj,
            0x92 => Op::NewObjEx,
            b'o' => Op::Obj,
            b'b' => Op::Build,
            0x98 => Op::ReadonlyBuffer,
            0x97 => return Err(PickleError::OutOfBand { offset: self.at }),
            b'Q' => Op::PersistentId,
            b'P' => {
                return Err(PickleError::RefusedOpcode { what: "a persistent id", offset: self.at });
            }
            0x82..=0x84 => {
                return Err(PickleError::RefusedOpcode { what: "an extension code", offset: self.at });
            }
            byte if self.at == 0 => return Err(PickleError::NotAPickle { byte }),
            byte => return Err(PickleError::BadOpcode { byte, offset: self.at }),
        })
    }

    fn proto(&mut self) -> Result<Op, PickleError> {
        match self.window.byte()? {
            version @ 0..=5 => Ok(Op::Proto(version)),
            version => Err(PickleError::UnsupportedProtocol { version, offset: self.at }),
        }
    }

    #[inline]
    fn text(&mut self, form: Form, len: u64) -> Result<Op, PickleError> {
        let offset = self.window.offset();
        self.within(len)?;
        if len <= INLINE as u64 {
            self.window.take(len as usize)?;
            (self.arg, self.is_made) = ((len as usize, len as usize), false);
        } else {
            self.window.skip(len);
        }
        Ok(Op::Text { form, offset, len })
    }

    /// A line that may be a payload; its bytes are the argument where they are few.
    fn line(&mut self) -> Result<u64, PickleError> {
        let len = self.window.line(INLINE)?;
        if len <= INLINE as u64 {
            (self.arg, self.is_made) = ((len as usize + 1, len as usize), false);
        }
        Ok(len)
    }

    /// A line that is a number or a name.
    fn short_line(&mut self) -> Result<&[u8], PickleError> {
        if self.line()? > INLINE as u64 {
            return Err(self.bad("line"));
        }
        Ok(self.arg())
    }

    /// Python 2's `repr`: what is between the quotes.
    fn quoted(&mut self) -> Result<Op, PickleError> {
        let offset = self.offset() + 1;
        let quote = self.window.byte()?;
        if !matches!(quote, b'\'' | b'"') {
            return Err(self.bad("string"));
        }
        let closed = self.line()?;
        let Some(len) = closed.checked_sub(1).filter(|_| self.window.behind(2)[0] == quote) else {
            return Err(self.bad("string"));
        };
        if len <= INLINE as u64 {
            (self.arg, self.is_made) = ((len as usize + 2, len as usize), false);
        }
        Ok(Op::Text { form: Form::Py2Repr, offset, len })
    }

    fn long(&mut self, len: u64) -> Result<Op, PickleError> {
        self.within(len)?;
        if len > LONGEST_INT as u64 {
            self.window.skip(len);
            return Ok(Op::HugeInt);
        }
        let bytes = self.window.take(len as usize)?;
        if let Some(small) = number::small(bytes) {
            return Ok(Op::Int(small));
        }
        let digits = number::decimal(bytes);
        self.made = digits.into_bytes();
        self.is_made = true;
        Ok(Op::BigInt)
    }

    /// The line just read as a decimal integer, with or without Python 2's `L`.
    fn decimal(&mut self) -> Result<Op, PickleError> {
        let line = self.arg();
        let digits = line.strip_suffix(b"L").unwrap_or(line);
        let text = str::from_utf8(digits).ok().filter(|text| number::is_decimal(text));
        let Some(text) = text else { return Err(self.bad("integer")) };
        if let Ok(small) = text.parse() {
            return Ok(Op::Int(small));
        }
        self.made = text.trim_start_matches('+').as_bytes().to_vec();
        self.is_made = true;
        Ok(Op::BigInt)
    }

    fn float(&mut self) -> Result<Op, PickleError> {
        let text = str::from_utf8(self.short_line()?).ok();
        match text.and_then(|text| text.parse().ok()) {
            Some(value) => Ok(Op::Float(value)),
            None => Err(self.bad("float")),
        }
    }

    fn memo_id(&mut self) -> Result<u64, PickleError> {
        let text = str::from_utf8(self.short_line()?).ok();
        // Python refuses negative ids; no opcode can name one beyond 32 bits but this one.
        match text.and_then(|text| text.parse::<u32>().ok()) {
            Some(id) => Ok(id.into()),
            None => Err(self.bad("memo number")),
        }
    }

    fn global(&mut self, op: Op) -> Result<Op, PickleError> {
        let mut made = std::mem::take(&mut self.made);
        made.clear();
        made.extend_from_slice(self.short_line()?);
        made.push(b'\n');
        made.extend_from_slice(self.short_line()?);
        (self.made, self.is_made) = (made, true);
        Ok(op)
    }

    fn u32(&mut self) -> Result<u32, PickleError> {
        Ok(u32::from_le_bytes(self.window.array()?))
    }

    fn i32(&mut self) -> Result<i32, PickleError> {
        Ok(i32::from_le_bytes(self.window.array()?))
    }

    fn u64(&mut self) -> Result<u64, PickleError> {
        Ok(u64::from_le_bytes(self.window.array()?))
    }

    /// A byte that is no opcode.
    pub(super) fn raw_byte(&mut self) -> Result<u8, PickleError> {
        self.window.byte()
    }

    /// Steps over bytes that are no opcodes; says where they begin.
    pub(super) fn raw(&mut self, len: u64) -> Result<u64, PickleError> {
        self.within(len)?;
        let offset = self.offset();
        self.window.skip(len);
        Ok(offset)
    }

    #[inline]
    fn within(&self, length: u64) -> Result<(), PickleError> {
        let left = self.window.left();
        if length > left {
            return Err(PickleError::LengthBeyondEnd { length, left, offset: self.offset() });
        }
        Ok(())
    }

    fn bad(&self, what: &'static str) -> PickleError {
        PickleError::BadArgument { what, offset: self.at }
    }
}
