//! Whatever the shapes, types, orders and splits: the merged store is the concatenation of its parts.

mod common;

use std::path::Path;

use common::{Workshop, rows_of};
use embstore::formats::Dtype;
use embstore::{ExportOptions, MergeOptions, Observer, RowRange, export, merge};
use half::{bf16, f16};
use proptest::prelude::*;
use serde_json::json;

#[derive(Clone, Debug)]
struct Part {
    rows: usize,
    dtype: Dtype,
    big_endian: bool,
    fortran: bool,
}

fn part() -> impl Strategy<Value = Part> {
    // numpy has no dtype code for bfloat16 in .npy files.
    let dtype = prop_oneof![Just(Dtype::Float16), Just(Dtype::Float32), Just(Dtype::Float64)];
    (0usize..40, dtype, any::<bool>(), any::<bool>()).prop_map(|(rows, dtype, big_endian, fortran)| Part {
        rows,
        dtype,
        big_endian,
        fortran,
    })
}

/// Writes a part as numpy would, and appends what float32 makes of it to `expected`.
fn write_npy(path: &Path, part: &Part, values: &[f64], cols: usize, expected: &mut Vec<f32>) {
    let element = |value: f64| -> Vec<u8> {
        let mut bytes = match part.dtype {
            Dtype::Float16 => f16::from_f64(value).to_le_bytes().to_vec(),
            Dtype::Bfloat16 => bf16::from_f64(value).to_le_bytes().to_vec(),
            Dtype::Float32 => (value as f32).to_le_bytes().to_vec(),
            Dtype::Float64 => value.to_le_bytes().to_vec(),
        };
        if part.big_endian {
            bytes.reverse();
        }
        bytes
    };
    expected.extend(values.iter().map(|&value| match part.dtype {
        Dtype::Float16 => f16::from_f64(value).to_f32(),
        Dtype::Bfloat16 => bf16::from_f64(value).to_f32(),
        Dtype::Float32 | Dtype::Float64 => value as f32,
    }));
    let order: Vec<usize> = if part.fortran {
        (0..cols).flat_map(|col| (0..part.rows).map(move |row| row * cols + col)).collect()
    } else {
        (0..part.rows * cols).collect()
    };
    let descr = format!("{}{}", if part.big_endian { '>' } else { '<' }, part.dtype.numpy_code());
    let fortran = if part.fortran { "True" } else { "False" };
    let mut header = format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': ({}, {cols}), }}", part.rows);
    header.push_str(&" ".repeat(63 - (10 + header.len()) % 64));
    header.push('\n');
    let mut bytes = [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes()].concat();
    bytes.extend(order.into_iter().flat_map(|index| element(values[index])));
    std::fs::write(path, bytes).expect("writable");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_arrays_in_natural_order(parts in prop::collection::vec(part(), 1..14), cols in 1usize..20, seed in any::<u64>()) {
        prop_assume!(parts.iter().any(|part| part.rows > 0));
        let workshop = Workshop::new();
        std::fs::create_dir(workshop.checkpoints()).expect("created");
        let mut expected = Vec::new();
        for (index, part) in parts.iter().enumerate() {
            let value = |i: usize| ((seed >> 8) as f64 + (i * 31 + index) as f64).sin() * 100.0;
            let values: Vec<f64> = (0..part.rows * cols).map(value).collect();
            write_npy(&workshop.checkpoints().join(format!("part-{index}.npy")), part, &values, cols, &mut expected);
        }
        let options = MergeOptions::new(workshop.checkpoints(), workshop.path("w.npy"));
        let report = merge(&options, Observer::none()).expect("merged");
        prop_assert_eq!(rows_of(&report.store), expected);
    }

    #[test]
    fn any_split_in_any_order_of_names(
        rows in 1u64..500, cols in 1u64..12, cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
        names in Just((0..12).collect::<Vec<_>>()).prop_shuffle(), keep in any::<prop::sample::Index>(),
    ) {
        let workshop = Workshop::new();
        let whole = common::values(rows, cols);
        let mut bounds: Vec<u64> = cuts.iter().map(|cut| cut.index(rows as usize) as u64).chain([0, rows]).collect();
        bounds.sort_unstable();
        for (bound, name) in bounds.windows(2).zip(&names) {
            let values = &whole[(bound[0] * cols) as usize..(bound[1] * cols) as usize];
            let fields = json!({"start_index": bound[0], "end_index": bound[1]});
            workshop.checkpoint(&format!("cluster2_gpu{name}.pkl"), values, cols, fields);
        }
        let mut options = MergeOptions::new(workshop.checkpoints(), workshop.path("w.npy"));
        let end = keep.index(rows as usize) as u64 + 1;
        options.rows = Some(RowRange { start: 0, end });
        let report = merge(&options, Observer::none()).expect("merged");
        prop_assert_eq!(&rows_of(&report.store), &whole[..(end * cols) as usize]);

        let mut slice = ExportOptions::new(&report.store, "npy");
        slice.output = Some(workshop.path("slice.npy"));
        slice.rows = Some(RowRange { start: end / 2, end });
        let slice = export(&slice, Observer::none()).expect("exported");
        prop_assert_eq!(rows_of(&slice.output), &whole[(end / 2 * cols) as usize..(end * cols) as usize]);
    }
}
