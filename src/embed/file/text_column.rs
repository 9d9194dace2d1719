//! Which column is the text.

use std::path::Path;

use arrow_schema::Schema;

use super::error::FileError;
use crate::table::{USUAL_NAMES, is_text, listed};

/// The position of the text column.
///
/// # Errors
/// Where there is none, more than one, or it holds no text.
pub(super) fn choose(path: &Path, schema: &Schema, asked: Option<&str>) -> Result<usize, FileError> {
    let path_buf = || path.to_path_buf();
    let position = |name: &str| schema.fields().iter().position(|field| field.name() == name);
    let index = match asked {
        Some(name) => position(name).ok_or_else(|| FileError::MissingTextColumn {
            path: path_buf(),
            name: name.into(),
            columns: listed(schema),
        })?,
        None => match USUAL_NAMES.iter().filter_map(|name| position(name)).collect::<Vec<_>>()[..] {
            [index] => index,
            [] => return Err(FileError::NoTextColumn { path: path_buf(), columns: listed(schema) }),
            ref many => {
                let names: Vec<&str> = many.iter().map(|index| schema.field(*index).name().as_str()).collect();
                let (candidates, columns) = (names.join(" and "), listed(schema));
                return Err(FileError::ManyTextColumns { path: path_buf(), candidates, columns });
            }
        },
    };
    let field = schema.field(index);
    if is_text(field.data_type()) {
        return Ok(index);
    }
    Err(FileError::NotText { path: path_buf(), name: field.name().clone(), kind: field.data_type().to_string() })
}

#[cfg(test)]
mod tests {
    use arrow_schema::{DataType, Field};

    use super::*;

    fn schema(columns: &[(&str, DataType)]) -> Schema {
        Schema::new(columns.iter().map(|(name, kind)| Field::new(*name, kind.clone(), true)).collect::<Vec<_>>())
    }

    fn chosen(columns: &[(&str, DataType)], asked: Option<&str>) -> Result<usize, String> {
        choose(Path::new("f.parquet"), &schema(columns), asked).map_err(|error| error.to_string())
    }

    #[test]
    fn one_usual_name_is_found_and_others_are_asked_for() {
        use DataType::{Int64, LargeUtf8, Utf8};
        assert_eq!(chosen(&[("id", Int64), ("body", Utf8)], None), Ok(1));
        assert_eq!(chosen(&[("id", Int64), ("comment", LargeUtf8)], Some("comment")), Ok(1));
        let none = chosen(&[("id", Int64), ("comment", Utf8)], None).expect_err("no usual name");
        assert!(none.contains("comment (Utf8)"), "{none}");
        let many = chosen(&[("text", Utf8), ("body", Utf8)], None).expect_err("two");
        assert!(many.contains("text and body"), "{many}");
        let kind = chosen(&[("text", Int64)], None).expect_err("numbers");
        assert!(kind.contains("holds Int64"), "{kind}");
        let missing = chosen(&[("text", Utf8)], Some("body")).expect_err("not there");
        assert!(missing.contains("no column \"body\""), "{missing}");
    }
}
