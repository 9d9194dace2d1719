//! numpy's arrays, as numpy pickles them; dtypes and scalars are in files of their own.
//!
//! ```text
//! _reconstruct(class, (0,), b'b')  BUILD (1, shape, dtype, is_fortran, payload)         every protocol
//! _frombuffer(payload, dtype, shape, 'C'|'F')  or  (…, shape, 'K', axes)                protocol 5
//! dtype('f4', False, True)  BUILD (3, '<', subarray, names, fields, itemsize, align, flags[, metadata])
//! scalar(dtype, payload)
//! ```
//!
//! Sources: numpy `array_reduce` and `array_setstate` in `methods.c`, `arraydescr_reduce` in `descriptor.c`,
//! `_frombuffer` in `numeric.py`.

use super::allow::Meaning;
use super::decode::{Coding, PayloadSpan};
use super::error::PickleError;
use super::machine::Machine;
use super::node::{DtypeNode, Node, NodeId};
use super::tree::{ArraySlot, ElementType, PickledArray};
use crate::dtype::Order;

/// numpy's own limit.
const MOST_DIMENSIONS: usize = 64;
/// Longer dimensions are no embeddings, even where another dimension is 0.
const LONGEST_DIMENSION: i64 = 1 << 40;

/// What BUILD or `_frombuffer` say about an array.
struct Parts {
    class: &'static str,
    shape: NodeId,
    dtype: NodeId,
    payload: NodeId,
}

impl Machine<'_> {
    /// An array whose shape and payload BUILD will bring.
    pub(super) fn reconstruct(&mut self, args: &[NodeId]) -> Result<Option<Node>, PickleError> {
        let &[class, _shape, _code] = args else { return Ok(None) };
        match self.meaning(class) {
            Some((Meaning::ArrayClass(class), _)) => Ok(Some(self.add_array(class, None))),
            Some((_, global)) => Err(self.refused(global)),
            None => Ok(None),
        }
    }

    pub(super) fn array_from_buffer(&mut self, args: &[NodeId]) -> Result<Node, PickleError> {
        let Some((&[payload, dtype, shape, order], axes)) = args.split_first_chunk() else {
            return Err(self.lying("_frombuffer takes four or five arguments"));
        };
        let parts = Parts { class: "numpy.ndarray", shape, dtype, payload };
        let order = self.tree.text(order).map(std::borrow::Cow::into_owned);
        let array = match (order.as_deref(), axes) {
            (Some("C"), []) => self.array(&parts, Order::C)?,
            (Some("F"), []) => self.array(&parts, Order::Fortran)?,
            (Some("K"), &[axes]) => {
                let array = self.array(&parts, Order::C)?;
                self.permuted(array, axes)?
            }
            _ => return Err(self.lying("its order is none of C, F and K")),
        };
        Ok(self.add_array(array.class, Some(array)))
    }

    pub(super) fn add_array(&mut self, class: &'static str, built: Option<PickledArray>) -> Node {
        let index = self.tree.arrays.len() as u32;
        self.tree.arrays.push(ArraySlot { class, built, is_joblib: false });
        Node::Array(index)
    }

    /// Axes are exchanged after the elements were laid out in C order.
    fn permuted(&self, array: PickledArray, axes: NodeId) -> Result<PickledArray, PickleError> {
        let axes = self.tree.items(axes).map(|axis| usize::try_from(self.tree.as_i64(axis)?).ok());
        let axes: Option<Vec<usize>> = axes.collect();
        let mut seen = vec![false; array.shape.len()];
        let is_new = |axis: &usize| seen.get_mut(*axis).is_some_and(|seen| !std::mem::replace(seen, true));
        let Some(axes) = axes.filter(|axes| axes.len() == array.shape.len() && axes.iter().all(is_new)) else {
            return Err(self.lying("its axes are no permutation"));
        };
        let shape = axes.iter().map(|axis| array.shape[*axis]).collect();
        let (dtype, order) = if axes.is_sorted() {
            (array.dtype, Order::C)
        } else if axes.is_sorted_by(|a, b| a > b) {
            (array.dtype, Order::Fortran)
        } else {
            (ElementType::Other(format!("{} with permuted axes", array.dtype.name())), Order::C)
        };
        Ok(PickledArray { dtype, shape, order, ..array })
    }

    pub(super) fn build_array(&mut self, index: u32, state: NodeId) -> Result<(), PickleError> {
        let slot = &self.tree.arrays[index as usize];
        if slot.built.is_some() {
            return Err(self.lying("its state is set twice"));
        }
        if slot.is_joblib {
            return self.build_joblib(index, state);
        }
        let class = slot.class;
        let mut state: Vec<NodeId> = self.tree.items(state).take(8).collect();
        // A subclass may put its own state beside the array's.
        if let [inner, _] = state[..]
            && let Node::Tuple(_) = self.tree.node(inner)
        {
            state = self.tree.items(inner).take(8).collect();
        }
        let &[version, shape, dtype, is_fortran, payload] = state.as_slice() else {
            return Err(self.lying("its state has not five parts"));
        };
        if self.tree.as_i64(version) != Some(1) {
            return Err(self.lying("its state has another version than 1"));
        }
        let order = match *self.tree.node(is_fortran) {
            Node::Bool(false) | Node::Int(0) => Order::C,
            Node::Bool(true) | Node::Int(1) => Order::Fortran,
            _ => return Err(self.lying("its order is neither C nor Fortran")),
        };
        let array = self.array(&Parts { class, shape, dtype, payload }, order)?;
        self.tree.arrays[index as usize].built = Some(array);
        Ok(())
    }

    /// Puts an array together and checks that its payload is as long as its shape says.
    fn array(&self, parts: &Parts, order: Order) -> Result<PickledArray, PickleError> {
        let (shape, dtype, element) = self.form(parts.shape, parts.dtype)?;
        let class = parts.class;
        if dtype.letter == b'O' {
            let payload = PayloadSpan { offset: self.at(), encoded_len: 0, coding: Coding::Raw };
            return Ok(PickledArray { class, dtype: element, shape, order, payload });
        }
        let Some(payload) = self.tree.span(parts.payload) else {
            return Err(self.lying("its payload is no bytes object"));
        };
        let needed = self.needed(&shape, dtype)?;
        // No coding is shorter than what it spells; how long it is exactly, only decoding tells.
        let fits = match payload.coding {
            Coding::Raw => needed == payload.encoded_len,
            _ => needed <= payload.encoded_len,
        };
        if dtype.size > 0 && !fits {
            let have = payload.encoded_len;
            return Err(self.lying(&format!("{shape:?} of {} needs {needed} bytes, there are {have}", element.name())));
        }
        Ok(PickledArray { class, dtype: element, shape, order, payload })
    }

    /// Shape and element type, as far as they go together.
    pub(super) fn form(&self, shape: NodeId, dtype: NodeId) -> Result<(Vec<u64>, DtypeNode, ElementType), PickleError> {
        let shape = self.shape(shape)?;
        let Node::Dtype(dtype) = *self.tree.node(dtype) else {
            return Err(self.lying("its dtype is none"));
        };
        let element = dtype.element();
        if dtype.order == b'|' && matches!(&element, ElementType::Float(..)) {
            return Err(self.lying("its elements have no byte order"));
        }
        Ok((shape, dtype, element))
    }

    /// Bytes that the elements take.
    pub(super) fn needed(&self, shape: &[u64], dtype: DtypeNode) -> Result<u64, PickleError> {
        let count = shape.iter().try_fold(1u64, |product, dim| product.checked_mul(*dim));
        let needed = count.and_then(|count| count.checked_mul(dtype.size.into()));
        needed.ok_or_else(|| self.lying("its shape is beyond any file"))
    }

    pub(super) fn shape(&self, shape: NodeId) -> Result<Vec<u64>, PickleError> {
        let dims: Vec<NodeId> = match self.tree.node(shape) {
            Node::Tuple(_) => self.tree.items(shape).take(MOST_DIMENSIONS + 1).collect(),
            _ => vec![shape],
        };
        if dims.len() > MOST_DIMENSIONS {
            return Err(self.lying("it has too many dimensions"));
        }
        let dims = dims.into_iter().map(|dim| match self.tree.as_i64(dim) {
            Some(dim @ 0..=LONGEST_DIMENSION) => Ok(dim as u64),
            Some(..0) => Err(self.lying("a dimension is negative")),
            _ => Err(self.lying("a dimension is beyond any file")),
        });
        dims.collect()
    }

    pub(super) fn lying(&self, fault: &str) -> PickleError {
        PickleError::LyingArray { fault: fault.into(), offset: self.at() }
    }
}
