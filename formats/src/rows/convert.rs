//! Elements of any accepted type and byte order to float32, and back.

use half::{bf16, f16};

use crate::array::ArrayMeta;
use crate::dtype::{ByteOrder, Dtype};

/// Elements of any accepted type and byte order to float32. Tells the index of every element that was finite and is
/// not any more.
pub fn widen(bytes: &[u8], array: &ArrayMeta, out: &mut [f32], narrowed: &mut dyn FnMut(u64)) {
    fn each<const N: usize>(bytes: &[u8], out: &mut [f32], value: impl Fn([u8; N]) -> f32) {
        let (elements, _) = bytes.as_chunks::<N>();
        for (element, out) in elements.iter().zip(out) {
            *out = value(*element);
        }
    }
    // Narrowing is numpy's `astype(float32)`: round to nearest even, too large becomes infinite.
    #[allow(clippy::cast_possible_truncation)]
    fn double(bytes: &[u8], out: &mut [f32], narrowed: &mut dyn FnMut(u64), value: impl Fn([u8; 8]) -> f64) {
        each(bytes, out, |element| value(element) as f32);
        let (elements, _) = bytes.as_chunks::<8>();
        for (index, _) in out.iter().enumerate().filter(|(_, out)| out.is_infinite()) {
            if value(elements[index]).is_finite() {
                narrowed(index as u64);
            }
        }
    }
    match (array.dtype, array.byte_order) {
        (Dtype::Float16, ByteOrder::Little) => each(bytes, out, |b| f16::from_le_bytes(b).to_f32()),
        (Dtype::Float16, ByteOrder::Big) => each(bytes, out, |b| f16::from_be_bytes(b).to_f32()),
        (Dtype::Bfloat16, ByteOrder::Little) => each(bytes, out, |b| bf16::from_le_bytes(b).to_f32()),
        (Dtype::Bfloat16, ByteOrder::Big) => each(bytes, out, |b| bf16::from_be_bytes(b).to_f32()),
        (Dtype::Float32, ByteOrder::Little) => each(bytes, out, f32::from_le_bytes),
        (Dtype::Float32, ByteOrder::Big) => each(bytes, out, f32::from_be_bytes),
        (Dtype::Float64, ByteOrder::Little) => double(bytes, out, narrowed, f64::from_le_bytes),
        (Dtype::Float64, ByteOrder::Big) => double(bytes, out, narrowed, f64::from_be_bytes),
    }
}

/// Rounds every value to the nearest one that `dtype` has (ties to even, too large becomes infinite) and puts the
/// little-endian bytes into `bytes`. Returns the largest absolute error made on a value that stayed finite.
pub fn narrow(values: &mut [f32], dtype: Dtype, bytes: &mut Vec<u8>) -> f32 {
    fn each<const N: usize>(values: &mut [f32], bytes: &mut Vec<u8>, round: impl Fn(f32) -> ([u8; N], f32)) -> f32 {
        let mut largest = 0f32;
        bytes.clear();
        bytes.reserve(values.len() * N);
        for value in values {
            let (element, rounded) = round(*value);
            bytes.extend_from_slice(&element);
            if rounded.is_finite() {
                largest = largest.max((*value - rounded).abs());
            }
            *value = rounded;
        }
        largest
    }
    match dtype {
        Dtype::Float16 => each(values, bytes, |value| {
            let half = f16::from_f32(value);
            (half.to_le_bytes(), half.to_f32())
        }),
        Dtype::Bfloat16 => each(values, bytes, |value| {
            let half = bf16::from_f32(value);
            (half.to_le_bytes(), half.to_f32())
        }),
        Dtype::Float32 => each(values, bytes, |value| (value.to_le_bytes(), value)),
        Dtype::Float64 => each(values, bytes, |value| (f64::from(value).to_le_bytes(), value)),
    }
}
