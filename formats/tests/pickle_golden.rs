//! What the scanner finds in every fixture, against what Python loads from it (`data/golden.py`).

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests")]

mod common;

use common::{arrays, crc32, data, payload, read};
use embstore_formats::pickle::{ElementType, KeepAll, PickleError, PickledArray, scan};
use embstore_formats::{ByteOrder, Order};
use serde_json::{Value, json};

/// An array's elements as golden.py sums them up: in C order, little-endian.
fn elements(array: &PickledArray, file: &[u8]) -> Vec<u8> {
    let bytes = payload(&array.payload, file);
    let count = array.shape.iter().product::<u64>() as usize;
    if count == 0 || bytes.is_empty() {
        return bytes;
    }
    let size = bytes.len() / count;
    let mut items: Vec<Vec<u8>> = bytes.chunks(size).map(<[u8]>::to_vec).collect();
    if let ElementType::Float(_, ByteOrder::Big) = array.dtype {
        items.iter_mut().for_each(|item| item.reverse());
    }
    if array.order == Order::Fortran {
        items = (0..count).map(|at| items[fortran(at, &array.shape)].clone()).collect();
    }
    items.concat()
}

/// Where Fortran order has the element that is at `at` in C order.
fn fortran(mut at: usize, shape: &[u64]) -> usize {
    let mut place = 0;
    let mut stride = shape.iter().product::<u64>() as usize;
    for dim in shape.iter().rev().map(|dim| *dim as usize) {
        stride /= dim;
        place += at % dim * stride;
        at /= dim;
    }
    place
}

fn same(name: &str, got: &Value, golden: &Value) {
    if let (Some(got), Some(golden)) = (got.as_object(), golden.as_object()) {
        assert!(got.keys().eq(golden.keys()), "{name}: {:?} {:?}", got.keys(), golden.keys());
        got.iter().zip(golden.values()).for_each(|((key, got), golden)| same(&format!("{name} {key}"), got, golden));
    }
    let shown = |value: &Value| value.to_string().chars().take(400).collect::<String>();
    assert!(got == golden, "{name}:\n got {}\nwant {}", shown(got), shown(golden));
}

#[test]
fn every_fixture_holds_what_python_loads() {
    let golden = String::from_utf8(read("golden.jsonl")).unwrap();
    let (mut files, mut all_arrays, mut refused) = (0, 0, 0);
    for line in golden.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let name = line["file"].as_str().unwrap();
        let file = read(name);
        let result = scan(&file.as_slice(), &mut KeepAll);
        files += 1;
        if let Some(reason) = line["refused"].as_str() {
            match result.map(|_| ()) {
                Err(PickleError::Refused { global, .. }) => assert!(global.starts_with(reason), "{name}: {global}"),
                Err(PickleError::OutOfBand { .. }) => assert_eq!(reason, "out-of-band", "{name}"),
                other => panic!("{name}: {other:?}"),
            }
            refused += 1;
            continue;
        }
        let pickle = result.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!((pickle.end, pickle.trailing), (file.len() as u64, 0), "{name}");
        same(name, &pickle.tree.to_json(pickle.tree.root()), &line["value"]);
        let mut found = Vec::new();
        arrays(&pickle.tree, pickle.tree.root(), "", &mut found);
        let found: Vec<Value> = found
            .into_iter()
            .map(|(path, array)| {
                all_arrays += 1;
                json!([path, array.dtype.name(), array.shape, crc32(&elements(array, &file))])
            })
            .collect();
        same(name, &Value::from(found), &line["arrays"]);
    }
    assert_eq!(
        files,
        std::fs::read_dir(data().join("pickle"))
            .unwrap()
            .flat_map(|folder| { std::fs::read_dir(folder.unwrap().path()).unwrap() })
            .count()
            + 12
    );
    assert_eq!((files, refused, all_arrays), (1575, 28, 1168), "a fixture is missing or was not looked at");
}

#[test]
fn an_array_of_permuted_axes_is_no_matrix_of_a_known_order() {
    let file = read("odd/permuted.p5.pkl");
    let pickle = scan(&file.as_slice(), &mut KeepAll).unwrap();
    let mut found = Vec::new();
    arrays(&pickle.tree, pickle.tree.root(), "", &mut found);
    let [(_, array)] = found[..] else { panic!("{found:?}") };
    assert_eq!((array.dtype.name(), array.shape.as_slice()), ("float32 with permuted axes", [3, 2, 4].as_slice()));
}
