//! joblib's arrays: `joblib.dump` writes a pickle, with the bytes of every array raw between its opcodes.
//!
//! ```text
//! NumpyArrayWrapper  NEWOBJ ()  BUILD {subclass, shape, order, dtype, allow_mmap, numpy_array_alignment_bytes}
//!   │ n │ ff × n │  █████████  the elements, in the given order       joblib ≥ 1.2, where the last key is a number
//!   │  █████████               the elements at once                   joblib 0.10 to 1.1, or where it is None
//! the next opcode
//! ```
//!
//! Source: joblib's
//! [`numpy_pickle.py`](https://github.com/joblib/joblib/blob/main/joblib/numpy_pickle.py), `NumpyArrayWrapper`.
//!
//! Accepted: arrays of any dtype without Python objects, in C or Fortran order. Refused: arrays of Python objects, each
//! of which is a complete pickle at this place; the files of joblib up to 0.9, whose arrays lie beside them.

use super::allow::Meaning;
use super::decode::{Coding, PayloadSpan};
use super::error::PickleError;
use super::machine::Machine;
use super::node::{Node, NodeId};
use super::tree::PickledArray;
use crate::dtype::Order;

impl Machine<'_> {
    /// An array whose form BUILD will bring, and whose bytes come after that.
    pub(super) fn joblib_array(&mut self) -> Node {
        let node = self.add_array("numpy.ndarray", None);
        if let Some(slot) = self.tree.arrays.last_mut() {
            slot.is_joblib = true;
        }
        node
    }

    /// BUILD: the form of the array; its bytes are stepped over.
    pub(super) fn build_joblib(&mut self, index: u32, state: NodeId) -> Result<(), PickleError> {
        let field = |key: &str| match self.tree.node(state) {
            Node::Dict(_) => self.tree.dict_get(state, key),
            _ => None,
        };
        let required = |key: &str| field(key).ok_or_else(|| self.lying(&format!("joblib gave it no {key:?}")));
        let class = match self.meaning(required("subclass")?) {
            Some((Meaning::ArrayClass(class), _)) => class,
            Some((_, global)) => return Err(self.refused(global)),
            None => return Err(self.lying("its class is none")),
        };
        let order = match self.tree.text(required("order")?).as_deref() {
            Some("C") => Order::C,
            Some("F") => Order::Fortran,
            _ => return Err(self.lying("its order is neither C nor F")),
        };
        let (shape, dtype, element) = self.form(required("shape")?, required("dtype")?)?;
        let alignment = match field("numpy_array_alignment_bytes").map(|id| *self.tree.node(id)) {
            None | Some(Node::None) => None,
            Some(Node::Int(alignment @ 1..=255)) => Some(alignment),
            Some(_) => return Err(self.lying("its alignment is none")),
        };
        if dtype.objects {
            return Err(PickleError::JoblibObjects { offset: self.at() });
        }
        let needed = self.needed(&shape, dtype)?;
        if dtype.size == 0 && !shape.contains(&0) {
            return Err(self.lying("its elements have no size"));
        }
        if let Some(alignment) = alignment {
            let padding = self.lexer.raw_byte()?;
            if i64::from(padding) > alignment {
                return Err(self.lying("its padding is longer than its alignment"));
            }
            for _ in 0..padding {
                if self.lexer.raw_byte()? != 0xff {
                    return Err(self.lying("its padding is none"));
                }
            }
        }
        let offset = self.lexer.raw(needed)?;
        self.memo.pass_gap(self.lexer.offset());
        let payload = PayloadSpan { offset, encoded_len: needed, coding: Coding::Raw };
        let slot = &mut self.tree.arrays[index as usize];
        slot.class = class;
        slot.built = Some(PickledArray { class, dtype: element, shape, order, payload });
        Ok(())
    }
}
