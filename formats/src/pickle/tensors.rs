//! PyTorch's tensors, in the pickle of a `.pt` file and nowhere else.
//!
//! ```text
//! ('storage', torch.FloatStorage, '0', 'cpu', numel)  BINPERSID       the member data/0 of the archive
//! _rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks[, metadata])
//! _rebuild_tensor_v3(storage, offset, size, stride, requires_grad, hooks, dtype[, metadata])
//! _rebuild_parameter(tensor, requires_grad, hooks)    the tensor itself
//! ```
//!
//! Offset and strides count elements; several tensors may look at one storage. Sources: PyTorch's `_reduce_ex_internal`
//! in `_tensor.py`, `_utils.py`, and `persistent_id` in `serialization.py`.
//!
//! In any other pickle these names and persistent ids are refused: the bytes would be elsewhere.

use super::allow::Meaning;
use super::decode::{Coding, PayloadSpan};
use super::error::PickleError;
use super::machine::Machine;
use super::node::{Node, NodeId};
use super::tree::{ElementType, PickledArray};
use crate::dtype::{ByteOrder, Dtype, Order};

/// The class of every tensor here; its payload is a place in the archive, and not in the pickle.
pub(crate) const TENSOR: &str = "torch.Tensor";

/// Where the storages lie that the pickle of an archive names.
pub(crate) trait Storages {
    /// First byte in the file, and how many there are.
    fn find(&self, key: &str) -> Option<(u64, u64)>;
    /// Byte order of all of them.
    fn byte_order(&self) -> ByteOrder;
}

/// What one of PyTorch's globals means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Torch {
    /// `_rebuild_tensor` and `_rebuild_tensor_v2`.
    Tensor,
    /// `_rebuild_tensor_v3`, which names the element type.
    TensorOfType,
    /// `_rebuild_parameter`, with or without a state.
    Parameter,
    Size,
    Device,
    /// A class of storages: the element type's name and its size in bytes, 0 where that is not known.
    Storage(&'static str, u8),
}

impl Torch {
    /// Whether NEWOBJ may make one.
    pub(super) fn is_class(self) -> bool {
        matches!(self, Torch::Size | Torch::Device)
    }
}

const STORAGES: &[(&str, &str, u8)] = &[
    ("FloatStorage", "float32", 4),
    ("DoubleStorage", "float64", 8),
    ("HalfStorage", "float16", 2),
    ("BFloat16Storage", "bfloat16", 2),
    ("LongStorage", "int64", 8),
    ("IntStorage", "int32", 4),
    ("ShortStorage", "int16", 2),
    ("CharStorage", "int8", 1),
    ("ByteStorage", "uint8", 1),
    ("BoolStorage", "bool", 1),
    ("ComplexFloatStorage", "complex64", 8),
    ("ComplexDoubleStorage", "complex128", 16),
    ("UntypedStorage", "bytes", 0),
    ("QInt8Storage", "qint8", 0),
    ("QUInt8Storage", "quint8", 0),
    ("QInt32Storage", "qint32", 0),
    ("QUInt4x2Storage", "quint4x2", 0),
    ("QUInt2x4Storage", "quint2x4", 0),
];

/// What a global means in PyTorch's own pickles.
pub(super) fn meaning(module: &str, name: &str) -> Meaning {
    let torch = match (module, name) {
        ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => Some(Torch::Tensor),
        ("torch._utils", "_rebuild_tensor_v3") => Some(Torch::TensorOfType),
        ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => Some(Torch::Parameter),
        ("torch", "Size") => Some(Torch::Size),
        ("torch", "device") => Some(Torch::Device),
        ("torch" | "torch.cuda" | "torch.storage", _) => {
            let found = STORAGES.iter().find(|row| row.0 == name);
            found.map(|(_, element, size)| Torch::Storage(element, *size))
        }
        _ => None,
    };
    torch.map_or(Meaning::Unknown, Meaning::Torch)
}

impl Machine<'_> {
    /// BINPERSID: the tuple that names a storage stays what it is, once it is known to be one.
    pub(super) fn persistent_id(&mut self) -> Result<(), PickleError> {
        let refused = PickleError::RefusedOpcode { what: "a persistent id", offset: self.at() };
        match self.storages {
            Some(_) if self.storage(self.top()?.id()).is_some() => Ok(()),
            _ => Err(refused),
        }
    }

    /// Element type, its size, and the key, of the tuple that names a storage.
    fn storage(&self, id: NodeId) -> Option<(&'static str, u8, String)> {
        let Node::Tuple(_) = self.tree.node(id) else { return None };
        let parts: Vec<NodeId> = self.tree.items(id).take(6).collect();
        let &[word, class, key, _location, _count] = parts.as_slice() else { return None };
        let is_storage = self.tree.text(word).is_some_and(|word| word == "storage");
        match self.meaning(class) {
            Some((Meaning::Torch(Torch::Storage(element, size)), _)) if is_storage => {
                Some((element, size, self.tree.text(key)?.into_owned()))
            }
            _ => None,
        }
    }

    /// What a call of one of PyTorch's globals makes; `None` where the arguments are not those that it is given.
    pub(super) fn torch(&mut self, torch: Torch, global: u32, args: &[NodeId]) -> Result<Option<Node>, PickleError> {
        match (torch, args) {
            (Torch::Tensor, &[storage, offset, size, stride] | &[storage, offset, size, stride, _, _])
            | (Torch::Tensor, &[storage, offset, size, stride, _, _, _]) => {
                self.tensor(storage, offset, (size, stride), None)
            }
            (
                Torch::TensorOfType,
                &[storage, offset, size, stride, _, _, dtype] | &[storage, offset, size, stride, _, _, dtype, _],
            ) => match self.meaning(dtype) {
                Some((_, dtype)) => self.tensor(storage, offset, (size, stride), Some(dtype)),
                None => Ok(None),
            },
            (Torch::Parameter, &[tensor, _, _] | &[tensor, _, _, _]) => Ok(match *self.tree.node(tensor) {
                Node::Array(index) => Some(Node::Array(index)),
                _ => None,
            }),
            (Torch::Size, &[dims]) => Ok(self.copy(dims).map(Node::Tuple)),
            (Torch::Device, _) => Ok(Some(Node::Opaque(global))),
            (Torch::Storage(..), _) => Err(self.refused(global)),
            _ => Ok(None),
        }
    }

    fn tensor(
        &mut self,
        storage: NodeId,
        offset: NodeId,
        (size, stride): (NodeId, NodeId),
        dtype: Option<u32>,
    ) -> Result<Option<Node>, PickleError> {
        let (Some(storages), Some((element, bytes, key))) = (self.storages, self.storage(storage)) else {
            return Ok(None);
        };
        let Some((start, len)) = storages.find(&key) else {
            return Err(self.lying(&format!("its storage data/{key} is not in the file")));
        };
        let (shape, strides) = (self.shape(size)?, self.shape(stride)?);
        if shape.len() != strides.len() {
            return Err(self.lying("it has not one stride a dimension"));
        }
        let offset = self.tree.as_i64(offset).and_then(|offset| u64::try_from(offset).ok());
        let offset = offset.ok_or_else(|| self.lying("its offset is none"))?;
        let count = shape.iter().try_fold(1u64, |product, dim| product.checked_mul(*dim));
        let reach = shape
            .iter()
            .zip(&strides)
            .try_fold(1u64, |reach, (dim, stride)| reach.checked_add(dim.saturating_sub(1).checked_mul(*stride)?));
        let reach = if count == Some(0) { Some(0) } else { reach };
        let bytes = u64::from(bytes);
        let needed = reach.and_then(|reach| reach.checked_add(offset)?.checked_mul(bytes));
        let (Some(count), Some(_)) = (count, needed.filter(|needed| *needed <= len)) else {
            let needed = needed.map_or_else(|| "more bytes than any file".into(), |needed| format!("{needed} bytes"));
            let fault = format!("{shape:?} of {element} from {offset} needs {needed}, its storage has {len}");
            return Err(self.lying(&fault));
        };
        let order = order(&shape, &strides);
        let dtype = match (dtype, Dtype::from_name(element), order) {
            (Some(dtype), ..) => ElementType::Other(self.tree.globals.name(dtype).into()),
            (None, Some(dtype), Some(_)) => ElementType::Float(dtype, storages.byte_order()),
            (None, Some(_), None) => ElementType::Other(format!("{element} with the strides {strides:?}")),
            (None, None, _) => ElementType::Other(element.into()),
        };
        let payload = PayloadSpan {
            offset: start + offset * bytes,
            encoded_len: count.saturating_mul(bytes),
            coding: Coding::Raw,
        };
        let order = order.unwrap_or(Order::C);
        let array = PickledArray { class: TENSOR, dtype, shape, order, payload };
        Ok(Some(self.add_array(TENSOR, Some(array))))
    }
}

/// The order in which the elements follow each other without gaps, if there is one.
fn order(shape: &[u64], strides: &[u64]) -> Option<Order> {
    fn follows<'a>(dims: impl Iterator<Item = (&'a u64, &'a u64)>) -> bool {
        let mut expected = 1u64;
        for (dim, stride) in dims {
            // The stride of a single row or column is never used.
            if *dim != 1 && *stride != expected {
                return false;
            }
            expected = expected.saturating_mul(*dim);
        }
        true
    }
    match () {
        () if shape.contains(&0) || follows(shape.iter().zip(strides).rev()) => Some(Order::C),
        () if follows(shape.iter().zip(strides)) => Some(Order::Fortran),
        () => None,
    }
}

#[cfg(all(test, feature = "containers"))]
mod tests {
    use super::super::{KeepAll, scan};
    use super::*;
    use crate::pickle::scan::scan_torch;

    struct One;

    impl Storages for One {
        fn find(&self, key: &str) -> Option<(u64, u64)> {
            (key == "0").then_some((1000, 48))
        }

        fn byte_order(&self) -> ByteOrder {
            ByteOrder::Big
        }
    }

    /// `_rebuild_tensor_v2` with a storage of twelve floats.
    fn pickle(offset: u8, size: [u8; 2], stride: [u8; 2]) -> Vec<u8> {
        let mut bytes =
            b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nFloatStorage\n".to_vec();
        bytes.extend(b"X\x01\0\0\x000X\x03\0\0\0cpuK\x0ctQ");
        bytes.extend([b'K', offset, b'K', size[0], b'K', size[1], 0x86, b'K', stride[0], b'K', stride[1], 0x86]);
        bytes.extend(b"\x89}tR.");
        bytes
    }

    fn tensor(offset: u8, size: [u8; 2], stride: [u8; 2]) -> Result<PickledArray, String> {
        let scanned = scan_torch(&pickle(offset, size, stride).as_slice(), &mut KeepAll, &One);
        let pickle = scanned.map_err(|error| error.to_string())?;
        Ok(pickle.tree.array(pickle.tree.root()).expect("a tensor").clone())
    }

    #[test]
    fn a_tensor_is_a_place_in_its_storage() {
        let rows = tensor(4, [2, 4], [4, 1]).expect("within");
        assert_eq!((rows.payload.offset, rows.payload.encoded_len, rows.order), (1016, 32, Order::C));
        assert_eq!(rows.dtype, ElementType::Float(Dtype::Float32, ByteOrder::Big));
        assert_eq!(tensor(0, [4, 3], [1, 4]).expect("transposed").order, Order::Fortran);
        assert_eq!(tensor(0, [1, 4], [99, 1]).expect("one row").order, Order::C);
        assert_eq!(tensor(0, [3, 2], [4, 2]).expect("a view").dtype.name(), "float32 with the strides [4, 2]");
    }

    #[test]
    fn what_reaches_out_of_its_storage_is_refused() {
        assert!(tensor(0, [3, 4], [4, 1]).is_ok());
        for (offset, size, stride) in [(1, [3, 4], [4, 1]), (0, [3, 5], [4, 1]), (13, [0, 4], [4, 1])] {
            let error = tensor(offset, size, stride).expect_err("too far");
            assert!(error.contains("its storage has 48"), "{error}");
        }
    }

    #[test]
    fn in_any_other_pickle_it_is_refused() {
        let error = scan(&pickle(0, [3, 4], [4, 1]).as_slice(), &mut KeepAll).expect_err("refused");
        assert!(error.to_string().contains("a persistent id"), "{error}");
        let error = scan(&b"\x80\x02ctorch\nSize\n(K\x01t\x85R.".as_slice(), &mut KeepAll).expect_err("refused");
        assert!(error.to_string().contains("torch.Size"), "{error}");
    }
}
