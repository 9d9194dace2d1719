//! Any bytes as a pickle: an error or a tree whose every view is sound, never a panic and never much memory.
#![no_main]

use std::ops::ControlFlow;

use embstore_formats::pickle::{ItemRef, ItemSink, KeepAll, NodeId, Tree, scan};
use libfuzzer_sys::fuzz_target;

/// Takes every list and looks at its items.
struct TakeAll;

impl ItemSink for TakeAll {
    fn wants(&mut self, _: Option<&str>) -> bool {
        true
    }

    fn item(&mut self, _: u64, item: ItemRef<'_>) -> ControlFlow<()> {
        let _ = (item.text().is_ok(), item.int_text(), item.keys(), item.to_json());
        ControlFlow::Continue(())
    }
}

/// Looks at the arrays of a value, not deeper than a file of this size could mean.
fn look(tree: &Tree, source: &[u8], id: NodeId, depth: u8) {
    if let Some(array) = tree.array(id) {
        let span = &array.payload;
        let encoded = &source[span.offset as usize..][..span.encoded_len as usize];
        let _ = span.decoded_len(encoded);
    }
    if depth > 0 {
        tree.items(id).take(16).for_each(|item| look(tree, source, item, depth - 1));
        tree.entries(id).take(16).for_each(|(_, value)| look(tree, source, value, depth - 1));
    }
}

fuzz_target!(|bytes: &[u8]| {
    if let Ok(pickle) = scan(&bytes, &mut KeepAll) {
        assert_eq!(pickle.end + pickle.trailing, bytes.len() as u64);
        let _ = pickle.tree.to_json(pickle.tree.root());
        look(&pickle.tree, bytes, pickle.tree.root(), 4);
    }
    let _ = scan(&bytes, &mut TakeAll);
});
