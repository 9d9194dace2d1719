//! Long lists: 2,500 articles that share keys and texts, written by every kind of pickler, are handed over as they are.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests")]

mod common;

use std::ops::ControlFlow;

use common::read;
use embstore_formats::pickle::{ItemRef, ItemSink, KeepAll, Pickle, PickleError, scan};
use serde_json::{Value, json};

/// All that golden.py says about an item.
#[derive(Default)]
struct Collect {
    key: Option<&'static str>,
    items: Vec<Value>,
    asked: Vec<Option<String>>,
}

impl ItemSink for Collect {
    fn wants(&mut self, key: Option<&str>) -> bool {
        self.asked.push(key.map(String::from));
        key == self.key
    }

    fn item(&mut self, index: u64, item: ItemRef<'_>) -> ControlFlow<()> {
        assert_eq!(index, self.items.len() as u64);
        let text = |key| item.get(key).unwrap().text().unwrap_or_else(|error| panic!("item {index}, {key}: {error}"));
        let n = item.get("n").unwrap();
        assert_eq!((n.int_text(), n.text().unwrap()), (Some(index.to_string()), None));
        assert_eq!(item.get("tags").unwrap().to_json(), json!(["x", index * 300]));
        assert!(item.get("none").is_none());
        self.items.push(json!([text("id"), text("title"), text("url"), text("text"), index]));
        ControlFlow::Continue(())
    }
}

fn golden() -> Vec<Value> {
    let lines = String::from_utf8(read("streams/items.jsonl")).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn stream(name: &str, key: Option<&'static str>) -> (Pickle, Vec<Value>) {
    let mut sink = Collect { key, ..Collect::default() };
    let file = read(name);
    let pickle = scan(&file.as_slice(), &mut sink).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(pickle.end, file.len() as u64);
    (pickle, sink.items)
}

#[test]
fn every_writer_s_items_arrive() {
    let golden = golden();
    let writers = ["c.p0", "c.p1", "c.p2", "c.p3", "c.p4", "c.p5", "python.p2", "append.p2", "fast.p4", "optimized.p4"];
    for writer in writers {
        let (pickle, items) = stream(&format!("streams/{writer}.pkl"), None);
        let first = items.iter().zip(&golden).find(|(got, want)| got != want);
        assert!(first.is_none(), "{writer}: {first:?}");
        assert_eq!(items.len(), golden.len(), "{writer}");
        let (tree, root) = (&pickle.tree, pickle.tree.root());
        assert_eq!((tree.items(root).count(), tree.items_left_out(root)), (0, 2500), "{writer}");
    }
}

#[test]
fn a_list_in_a_dict_streams_and_what_follows_may_share_its_texts() {
    let (pickle, items) = stream("streams/dict.p4.pkl", Some("articles"));
    assert_eq!(items, golden());
    let after = pickle.tree.dict_get(pickle.tree.root(), "after").unwrap();
    assert_eq!(pickle.tree.text(after).unwrap(), items[3][1].as_str().unwrap());
}

#[test]
fn an_unwanted_list_keeps_its_first_items() {
    let file = read("streams/dict.p4.pkl");
    let pickle = scan(&file.as_slice(), &mut KeepAll).unwrap();
    let list = pickle.tree.dict_get(pickle.tree.root(), "articles").unwrap();
    assert_eq!((pickle.tree.items(list).count(), pickle.tree.items_left_out(list)), (1000, 1500));
    let item = pickle.tree.items(list).nth(999).unwrap();
    let id = pickle.tree.dict_get(item, "id").unwrap();
    assert_eq!(pickle.tree.text(id).unwrap(), "999");
}

#[test]
fn only_the_top_level_and_its_values_are_asked_for() {
    // {'a': [], 'b': ['x', [[]]], 'c': {'d': []}, 'e': ([],)}
    let bytes = b"\x80\x04}(\x8c\x01a]\x8c\x01b](\x8c\x01x](]ee\x8c\x01c}\x8c\x01d]s\x8c\x01e]\x85u.";
    let mut sink = Collect::default();
    let pickle = scan(&bytes.as_slice(), &mut sink).unwrap();
    assert_eq!(pickle.tree.to_json(pickle.tree.root()), json!({"a": [], "b": ["x", [[]]], "c": {"d": []}, "e": [[]]}));
    let asked: Vec<_> = sink.asked.iter().flatten().map(String::as_str).collect();
    // 'd' cannot be told from a key of the outer dict before its SETITEM.
    assert_eq!(asked, ["a", "b", "d", "e"]);
}

#[test]
fn a_sink_can_end_the_scan() {
    struct Three;
    impl ItemSink for Three {
        fn wants(&mut self, _: Option<&str>) -> bool {
            true
        }
        fn item(&mut self, index: u64, _: ItemRef<'_>) -> ControlFlow<()> {
            if index == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        }
    }
    let file = read("streams/c.p4.pkl");
    assert!(matches!(scan(&file.as_slice(), &mut Three), Err(PickleError::Stopped)));
}

/// A list of `count` copies of `item`, in batches as CPython writes them.
fn list_of(count: usize, item: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x80\x04]\x94".to_vec();
    for _ in 0..count / 500 {
        bytes.push(b'(');
        bytes.extend(item.repeat(500));
        bytes.push(b'e');
    }
    bytes.push(b'.');
    bytes
}

#[test]
fn a_container_of_an_item_that_is_gone_is_an_error_and_not_something_else() {
    // Items memoize a dict each; number 2,000 is long gone at the end.
    let mut bytes = list_of(5000, b"}\x94");
    bytes.pop();
    bytes.extend(b"j\xd0\x07\x00\x00a.");
    let error = scan(&bytes.as_slice(), &mut KeepAll).unwrap_err();
    assert!(matches!(error, PickleError::LetGo { id: 2000, .. }), "{error}");
    // A dict of the first batches is still there.
    let at = bytes.len() - 6;
    bytes[at..at + 2].copy_from_slice(&7u16.to_le_bytes());
    scan(&bytes.as_slice(), &mut KeepAll).unwrap();
}

#[test]
fn nothing_is_let_go_once_a_value_was_changed_through_a_second_name() {
    // An old list (number 1) gets every item of the long one (number 0) before the batch ends.
    let mut bytes = b"\x80\x04]\x94]\x940".to_vec();
    for i in 0..3000u16 {
        bytes.extend([b'(', b'M', i as u8, (i >> 8) as u8, 0x85, 0x94]);
        bytes.extend([b'h', 1, b'j']);
        bytes.extend((u32::from(i) + 2).to_le_bytes());
        bytes.extend(b"a0e");
    }
    bytes.extend(b"0h\x01.");
    let pickle = scan(&bytes.as_slice(), &mut KeepAll).unwrap();
    let (tree, root) = (&pickle.tree, pickle.tree.root());
    for (i, item) in tree.items(root).enumerate() {
        assert_eq!(tree.to_json(item), json!([i]));
    }
    assert_eq!((tree.items(root).count(), tree.items_left_out(root)), (1024, 1976));
}
