//! A value together with the file, so that long texts can be read.

use serde_json::Value;

use super::error::PickleError;
use super::node::{Node, NodeId};
use super::source::Source;
use super::tree::Tree;

/// A value of a pickle, while it is there.
#[derive(Clone, Copy)]
pub struct ItemRef<'a> {
    tree: &'a Tree,
    source: &'a dyn Source,
    id: NodeId,
}

impl<'a> ItemRef<'a> {
    /// A value of `tree`, which was read from `source`.
    #[must_use]
    pub fn new(tree: &'a Tree, source: &'a dyn Source, id: NodeId) -> Self {
        ItemRef { tree, source, id }
    }

    /// The value under a key, where this is a dict.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<ItemRef<'a>> {
        Some(ItemRef { id: self.tree.dict_get(self.id, key)?, ..*self })
    }

    /// The text keys of a dict, for messages.
    #[must_use]
    pub fn keys(&self) -> Vec<String> {
        self.tree.entries(self.id).filter_map(|(key, _)| self.tree.text(key)).map(Into::into).collect()
    }

    /// The Python type, for messages.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        self.tree.type_name(self.id)
    }

    /// The integer, where it fits 64 bits.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        self.tree.as_i64(self.id)
    }

    /// An integer of any size as decimal text; numpy's count, bools do not.
    #[must_use]
    pub fn int_text(&self) -> Option<String> {
        self.tree.int_text(self.id)
    }

    /// The text, where this is one; read from the file where it is long.
    ///
    /// # Errors
    /// A text of more than a mebibyte, or a failure to read.
    pub fn text(&self) -> Result<Option<String>, PickleError> {
        self.tree.text_from(self.id, self.source)
    }

    /// Whether this is Python's `None`.
    #[must_use]
    pub fn is_none(&self) -> bool {
        matches!(self.tree.node(self.id), Node::None)
    }

    /// The value as JSON, see [`Tree::to_json`].
    #[must_use]
    pub fn to_json(&self) -> Value {
        self.tree.to_json(self.id)
    }
}
