//! A second opinion on plain values: the crate `serde-pickle`, as writer and as reader.

mod common;

use common::data;
use embstore_formats::pickle::{KeepAll, scan};
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use serde_pickle::{DeOptions, HashableValue, SerOptions};

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-1e300..1e300f64).prop_map(Value::from),
        "\\PC{0,300}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 200, 12, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..12).prop_map(Value::from),
            prop::collection::btree_map("\\PC{0,20}", inner, 0..12)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_serde_pickle_writes_is_read(value in value(), protocol_2 in any::<bool>()) {
        let options = if protocol_2 { SerOptions::new().proto_v2() } else { SerOptions::new() };
        let bytes = serde_pickle::to_vec(&value, options).expect("written");
        let pickle = scan(&bytes.as_slice(), &mut KeepAll).expect("read");
        prop_assert_eq!(pickle.tree.to_json(pickle.tree.root()), value);
    }
}

/// What serde-pickle read, by the rules of `Fields`.
fn to_json(value: &serde_pickle::Value) -> Value {
    use serde_pickle::Value as Pickled;
    let hashable = |value: &HashableValue| to_json(&value.clone().into_value());
    let key = |value: &HashableValue| match hashable(value) {
        Value::String(text) => text,
        other => other.to_string(),
    };
    match value {
        Pickled::None => Value::Null,
        Pickled::Bool(value) => json!(value),
        Pickled::I64(value) => json!(value),
        Pickled::Int(value) => json!(value.to_string()),
        Pickled::F64(value) if value.is_finite() => json!(value),
        Pickled::F64(value) => json!(value.to_string().to_lowercase()),
        Pickled::Bytes(bytes) => json!({"bytes": bytes.len()}),
        Pickled::String(text) => json!(text),
        Pickled::List(items) | Pickled::Tuple(items) => items.iter().map(to_json).collect(),
        Pickled::Set(items) | Pickled::FrozenSet(items) => items.iter().map(hashable).collect(),
        Pickled::Dict(entries) => {
            Value::Object(entries.iter().map(|(k, v)| (key(k), to_json(v))).collect::<Map<_, _>>())
        }
    }
}

/// Sets and dicts of serde-pickle have an order of their own.
fn sorted(value: Value) -> Value {
    match value {
        Value::Array(items) => {
            let mut items: Vec<Value> = items.into_iter().map(sorted).collect();
            items.sort_by_key(Value::to_string);
            items.into()
        }
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            fields.sort_by(|a, b| a.0.cmp(&b.0));
            Value::Object(fields.into_iter().collect())
        }
        other => other,
    }
}

/// What the fixtures of plain values hold. Of others serde-pickle knows the state and not the class.
const PLAIN: [&str; 15] =
    ["s", "b", "i", "neg", "big", "f", "fl", "none", "t", "tup", "tup0", "tup1", "lst", "d", "st"];

/// Python 3 wrote these; of Python 2 serde-pickle has another idea of text.
#[test]
fn serde_pickle_reads_the_same_plain_values() {
    let mut compared = 0;
    for folder in ["py37np121", "py311np126", "py311np2", "py312np2"] {
        for entry in std::fs::read_dir(data().join("pickle").join(folder)).expect("fixtures") {
            let path = entry.expect("listed").path();
            let name = path.display().to_string();
            let file = path.file_name().map(|file| file.to_string_lossy().into_owned()).unwrap_or_default();
            let plain = file.strip_prefix("meta_").and_then(|rest| rest.split('.').next());
            if !plain.is_some_and(|plain| PLAIN.contains(&plain)) {
                continue;
            }
            let bytes = std::fs::read(&path).expect("read");
            let Ok(theirs) = serde_pickle::value_from_slice(&bytes, DeOptions::new()) else { continue };
            let pickle = scan(&bytes.as_slice(), &mut KeepAll).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(sorted(pickle.tree.to_json(pickle.tree.root())), sorted(to_json(&theirs)), "{name}");
            compared += 1;
        }
    }
    assert!(compared >= 150, "only {compared} fixtures were compared");
}
