//! Random values survive the way through a pickle, and random damage is never more than an error.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests")]

mod common;

use std::ops::ControlFlow;

use common::read;
use embstore_formats::pickle::{ItemRef, ItemSink, KeepAll, scan};
use proptest::prelude::*;
use serde_json::{Map, Value};

/// Writes a JSON value as Python would, in one of several dialects.
struct Writer {
    protocol: u8,
    memoize: bool,
    batches: usize,
    out: Vec<u8>,
    memo: u32,
}

impl Writer {
    fn pickle(value: &Value, protocol: u8, memoize: bool, batches: usize) -> Vec<u8> {
        let mut writer = Writer { protocol, memoize, batches, out: Vec::new(), memo: 0 };
        if protocol >= 2 {
            writer.out.extend([0x80, protocol]);
        }
        writer.value(value);
        writer.out.push(b'.');
        writer.out
    }

    fn put(&mut self) {
        if !self.memoize {
            return;
        }
        match self.protocol {
            0 => self.out.extend(format!("p{}\n", self.memo).bytes()),
            1..=3 => self.out.extend([&b"r"[..], &self.memo.to_le_bytes()].concat()),
            _ => self.out.push(0x94),
        }
        self.memo += 1;
    }

    fn text(&mut self, text: &str) {
        match (self.protocol, u8::try_from(text.len())) {
            (0, _) => {
                let units: String = text
                    .chars()
                    .map(|char| match u32::from(char) {
                        code @ (0 | 10 | 13 | 26 | 92) => format!("\\u{code:04x}"),
                        code @ 0..=0xff => char::from(code as u8).into(),
                        code @ 0x100..=0xffff => format!("\\u{code:04x}"),
                        code => format!("\\U{code:08x}"),
                    })
                    .collect();
                self.out.push(b'V');
                self.out.extend(units.chars().map(|char| char as u8));
                self.out.push(b'\n');
            }
            (4.., Ok(len)) => self.out.extend([&[0x8c, len], text.as_bytes()].concat()),
            _ => self.out.extend([&b"X"[..], &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat()),
        }
        self.put();
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::Null => self.out.push(b'N'),
            Value::Bool(yes) if self.protocol < 2 => self.out.extend(format!("I0{}\n", u8::from(*yes)).bytes()),
            Value::Bool(yes) => self.out.push(if *yes { 0x88 } else { 0x89 }),
            Value::String(text) => self.text(text),
            Value::Number(number) => self.number(number),
            Value::Array(items) => {
                self.out.push(b']');
                self.put();
                for batch in items.chunks(self.batches) {
                    self.batch(batch.iter().collect(), b'a', b'e', Self::value);
                }
            }
            Value::Object(entries) => {
                self.out.push(b'}');
                self.put();
                for batch in entries.iter().collect::<Vec<_>>().chunks(self.batches) {
                    self.batch(batch.to_vec(), b's', b'u', |this, (key, value)| {
                        this.text(key);
                        this.value(value);
                    });
                }
            }
        }
    }

    fn batch<T>(&mut self, items: Vec<T>, one: u8, many: u8, write: fn(&mut Self, T)) {
        if items.len() == 1 || self.protocol == 0 {
            for item in items {
                write(self, item);
                self.out.push(one);
            }
        } else {
            self.out.push(b'(');
            for item in items {
                write(self, item);
            }
            self.out.push(many);
        }
    }

    fn number(&mut self, number: &serde_json::Number) {
        match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(value), ..) => match i32::try_from(value) {
                _ if self.protocol == 0 => self.out.extend(format!("L{value}L\n").bytes()),
                Ok(value) => self.out.extend([&b"J"[..], &value.to_le_bytes()].concat()),
                Err(_) if self.protocol < 2 => self.out.extend(format!("I{value}\n").bytes()),
                Err(_) => self.out.extend([&[0x8a, 8][..], &value.to_le_bytes()].concat()),
            },
            (_, Some(value), _) if self.protocol < 2 => self.out.extend(format!("L{value}L\n").bytes()),
            (_, Some(value), _) => self.out.extend([&[0x8a, 9][..], &value.to_le_bytes(), &[0]].concat()),
            (.., Some(value)) if self.protocol == 0 => self.out.extend(format!("F{value:?}\n").bytes()),
            (.., value) => self.out.extend([&b"G"[..], &value.unwrap_or_default().to_be_bytes()].concat()),
        }
    }
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_filter("JSON has no others", |value| value.is_finite()).prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
        "[a-z]{300,400}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 80, 12, |inner| {
        let entries = prop::collection::vec((".{0,8}", inner.clone()), 0..8);
        prop_oneof![
            prop::collection::vec(inner, 0..12).prop_map(Value::from),
            entries.prop_map(|entries| entries.into_iter().collect::<Map<_, _>>().into()),
        ]
    })
}

/// Takes every list; what it is given is looked at and dropped.
struct TakeAll(Vec<Value>);

impl ItemSink for TakeAll {
    fn wants(&mut self, _: Option<&str>) -> bool {
        true
    }

    fn item(&mut self, _: u64, item: ItemRef<'_>) -> ControlFlow<()> {
        self.0.push(item.to_json());
        let _ = (item.text().is_ok(), item.int_text(), item.keys(), item.get("id").is_some());
        ControlFlow::Continue(())
    }
}

proptest! {
    #[test]
    fn values_come_back(value in values(), protocol in 0u8..=5, memoize: bool, batches in 1usize..5) {
        let bytes = Writer::pickle(&value, protocol, memoize, batches);
        let pickle = scan(&bytes.as_slice(), &mut KeepAll).unwrap();
        prop_assert_eq!(pickle.tree.to_json(pickle.tree.root()), value);
        prop_assert_eq!(pickle.protocol, if protocol < 2 { 0 } else { protocol });
    }

    #[test]
    fn damage_is_an_error_at_most(
        file in prop::sample::select(vec![
            "pickle/py311np2/ckpt_meta_all.p0.pkl",
            "pickle/py311np2/ckpt_meta_all.p2.pkl",
            "pickle/py311np2/ckpt_meta_all.p5.pkl",
            "pickle/py27np116/ckpt_meta_all.p0.pkl",
            "pickle/py311np2/articles5.p4.pkl",
            "pickle/py311np2/arr_structured.p4.pkl",
        ]),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = read(file);
        for (index, byte) in damage {
            let at = index.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(pickle) = scan(&bytes.as_slice(), &mut TakeAll(Vec::new())) {
            let _ = pickle.tree.to_json(pickle.tree.root()).to_string();
            prop_assert!(pickle.end <= bytes.len() as u64);
        }
    }

    #[test]
    fn noise_is_an_error_at_most(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = scan(&bytes.as_slice(), &mut TakeAll(Vec::new())).is_ok();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_long_list_s_items_come_back(
        items in prop::collection::vec(values(), 1..6),
        protocol in 0u8..=5,
        memoize: bool,
        batches in 1usize..1100,
    ) {
        let items: Vec<Value> = items.into_iter().cycle().take(2200).collect();
        let bytes = Writer::pickle(&items.clone().into(), protocol, memoize, batches);
        let mut sink = TakeAll(Vec::new());
        scan(&bytes.as_slice(), &mut sink).unwrap();
        prop_assert!(sink.0 == items);
    }
}
