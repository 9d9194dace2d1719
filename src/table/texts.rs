//! The values of text columns, of every type that holds text.

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, Schema};

/// Names of text columns that are looked for where no other is asked for.
pub(crate) const USUAL_NAMES: [&str; 4] = ["text", "body", "content", "chain"];

/// How many columns a message lists.
const LISTED: usize = 12;

/// Columns with their types, for messages.
pub(crate) fn listed(schema: &Schema) -> String {
    let fields = schema.fields();
    let named = fields.iter().take(LISTED).map(|field| format!("{} ({})", field.name(), field.data_type()));
    let named = named.collect::<Vec<_>>().join(", ");
    match fields.len().saturating_sub(LISTED) {
        0 if fields.is_empty() => "no columns".into(),
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

pub(crate) fn is_text(kind: &DataType) -> bool {
    match kind {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, values) => is_text(values),
        _ => false,
    }
}

/// The texts of a batch, in row order; `None` is null.
pub(crate) fn texts(batch: &RecordBatch, column: usize) -> Vec<Option<&str>> {
    values(batch.column(column))
}

fn values(array: &ArrayRef) -> Vec<Option<&str>> {
    match array.data_type() {
        DataType::Utf8 => array.as_string::<i32>().iter().collect(),
        DataType::LargeUtf8 => array.as_string::<i64>().iter().collect(),
        DataType::Utf8View => array.as_string_view().iter().collect(),
        _ => match array.as_any_dictionary_opt() {
            Some(dictionary) if !dictionary.values().is_empty() => {
                let words = values(dictionary.values());
                let keys = dictionary.normalized_keys();
                keys.iter().enumerate().map(|(row, key)| array.is_valid(row).then(|| words[*key]).flatten()).collect()
            }
            // Nothing else is text; a dictionary without words has null rows only.
            _ => vec![None; array.len()],
        },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::types::Int8Type;
    use arrow_array::{DictionaryArray, StringViewArray};

    use super::*;

    #[test]
    fn texts_of_every_kind_of_column() {
        let expected = [Some("a"), None, Some("b"), Some("a")];
        let arrays: [ArrayRef; 3] = [
            Arc::new(arrow_array::StringArray::from(expected.to_vec())),
            Arc::new(StringViewArray::from(expected.to_vec())),
            Arc::new(expected.into_iter().collect::<DictionaryArray<Int8Type>>()),
        ];
        for array in arrays {
            assert_eq!(values(&array), expected, "{}", array.data_type());
        }
        let nothing: DictionaryArray<Int8Type> = [None::<&str>, None].into_iter().collect();
        let nothing: ArrayRef = Arc::new(nothing);
        assert_eq!(values(&nothing), [None, None]);
    }
}
