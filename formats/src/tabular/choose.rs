//! Which columns of a table are the rows of the matrix.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use crate::dtype::Dtype;
use crate::error::FormatError;
use crate::format::LocateOptions;

/// Names that are looked for where no other name is asked for.
const USUAL_NAMES: [&str; 3] = ["embeddings", "embedding", "vector"];
/// How many names a message lists.
const NAMED: usize = 12;

/// A column of the table.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) kind: Kind,
}

/// What a column holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// One float a row.
    Float(Dtype),
    /// A list of floats a row; its width where the schema tells it.
    List(Dtype, Option<u64>),
    /// Anything else, by the name of its type.
    Other(String),
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Float(dtype) => dtype.fmt(f),
            Kind::List(dtype, None) => write!(f, "list of {dtype}"),
            Kind::List(dtype, Some(width)) => write!(f, "list of {width} {dtype}"),
            Kind::Other(name) => f.write_str(name),
        }
    }
}

/// The columns that are the rows.
#[derive(Debug)]
pub(crate) struct Choice {
    pub(crate) rows: Rows,
    pub(crate) dtype: Dtype,
    pub(crate) notes: Vec<String>,
    /// Names of the columns that are not read.
    pub(crate) others: Vec<String>,
}

/// By position in the table.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Rows {
    /// One column for each column of the matrix.
    Columns(Vec<usize>),
    /// One column of lists, and their width where the schema tells it.
    List(usize, Option<u64>),
}

/// Chooses by name: the list column `key`, columns numbered behind the prefix `key`, and where `key` is the default, the
/// usual names, the one family of numbered columns, or the one list column, in this order.
///
/// # Errors
/// [`FormatError::NoFloats`] for a table without any float, [`FormatError::NoRows`] where the choice is not clear.
pub(crate) fn choose(path: &Path, columns: &[Column], key: &str) -> Result<Choice, FormatError> {
    let is_default = key == LocateOptions::default().key;
    let lists: Vec<usize> = columns
        .iter()
        .enumerate()
        .filter(|(_, column)| matches!(column.kind, Kind::List(..)))
        .map(|(index, _)| index)
        .collect();
    let families = families(columns);
    if lists.is_empty() && !columns.iter().any(|column| matches!(column.kind, Kind::Float(_))) {
        return Err(FormatError::NoFloats { path: path.to_path_buf(), what: listed(columns) });
    }
    let refuse = |what: String, hint: &str| FormatError::NoRows { path: path.to_path_buf(), what, hint: hint.into() };
    let list = |index: usize, notes: Vec<String>| match columns[index].kind {
        Kind::List(dtype, width) => Ok(choice(columns, Rows::List(index, width), dtype, notes)),
        _ => Err(refuse(
            format!("the column {:?} holds {}, not lists of floats", columns[index].name, columns[index].kind),
            "name another column: --key NAME",
        )),
    };
    let named = |name: &str| columns.iter().position(|column| column.name == name);
    let family = |family: &Family| family.check(columns).map_err(|what| refuse(what, MEND));
    if let Some(index) = named(key) {
        return list(index, Vec::new());
    }
    if !is_default {
        return match families.iter().find(|family| family.prefix == key || family.prefix == format!("{key}_")) {
            Some(found) => family(found),
            None => Err(refuse(
                format!("has no column {key:?}, nor numbered ones; it has {}", listed(columns)),
                "name the list column, or what stands before the numbers: --key NAME",
            )),
        };
    }
    if let Some(index) = USUAL_NAMES.iter().find_map(|name| named(name).filter(|index| lists.contains(index))) {
        return list(index, Vec::new());
    }
    let many: Vec<&Family> = families.iter().filter(|family| family.members.len() > 1).collect();
    let whole: Vec<&Family> = many.iter().copied().filter(|family| family.check(columns).is_ok()).collect();
    match (whole.as_slice(), many.as_slice(), lists.as_slice()) {
        ([one], ..) | ([], [one], []) => family(one),
        ([], _, [index]) => list(*index, vec![format!("the rows are read from the column {:?}", columns[*index].name)]),
        ([], [], _) => Err(refuse(
            format!("has no column of lists named embeddings and no numbered columns; it has {}", listed(columns)),
            "name the column: --key NAME",
        )),
        _ => {
            let prefixes: Vec<String> = many.iter().map(|family| format!("{}…", family.prefix)).collect();
            Err(refuse(
                format!("has several families of numbered columns: {}", prefixes.join(", ")),
                "say which: --key PREFIX",
            ))
        }
    }
}

const MEND: &str = "write the columns again, numbered from 0, all of one type, or as one column of lists";

fn choice(columns: &[Column], rows: Rows, dtype: Dtype, notes: Vec<String>) -> Choice {
    let mut read = vec![false; columns.len()];
    match &rows {
        Rows::Columns(indices) => indices.iter().for_each(|index| read[*index] = true),
        Rows::List(index, _) => read[*index] = true,
    }
    let others = columns.iter().zip(read).filter(|(_, read)| !read).map(|(column, _)| column.name.clone()).collect();
    Choice { rows, dtype, notes, others }
}

/// Columns of floats whose names differ in their number alone.
struct Family {
    prefix: String,
    /// Number and position, by number.
    members: Vec<(u32, usize)>,
}

fn families(columns: &[Column]) -> Vec<Family> {
    let mut by_prefix: BTreeMap<&str, Vec<(u32, usize)>> = BTreeMap::new();
    for (index, column) in columns.iter().enumerate() {
        if let (Kind::Float(_), Some((prefix, number))) = (&column.kind, numbered(&column.name)) {
            by_prefix.entry(prefix).or_default().push((number, index));
        }
    }
    let family = |(prefix, mut members): (&str, Vec<(u32, usize)>)| {
        members.sort_unstable();
        Family { prefix: prefix.into(), members }
    };
    by_prefix.into_iter().map(family).collect()
}

/// What stands before a number at the end of a name, and the number.
fn numbered(name: &str) -> Option<(&str, u32)> {
    let prefix = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let digits = &name[prefix.len()..];
    (digits.len() <= 9).then(|| digits.parse().ok().map(|number| (prefix, number))).flatten()
}

impl Family {
    /// Numbers from 0 without a gap, of one type; else what is wrong.
    fn check(&self, columns: &[Column]) -> Result<Choice, String> {
        let name = |index: usize| columns[index].name.as_str();
        let first = self.members[0].1;
        for (expected, (number, index)) in (0u32..).zip(&self.members) {
            if *number > expected {
                let digits = name(*index).len() - self.prefix.len();
                let missing = format!("{}{expected:0digits$}", self.prefix);
                let is = columns.iter().find(|column| column.name == missing);
                return Err(match is {
                    Some(column) => format!("the column {missing:?} holds {}, not floats", column.kind),
                    None => format!(
                        "the column {missing:?} is missing: there are {}, the last is {:?}",
                        self.members.len(),
                        name(self.members[self.members.len() - 1].1)
                    ),
                });
            }
            if *number < expected {
                return Err(format!("the columns {:?} have the number {number} twice", self.prefix));
            }
            if columns[*index].kind != columns[first].kind {
                let kinds = (&columns[first].kind, &columns[*index].kind);
                return Err(format!("{:?} holds {}, but {:?} {}", name(first), kinds.0, name(*index), kinds.1));
            }
        }
        let Kind::Float(dtype) = columns[first].kind else { return Err("holds no floats".into()) };
        let indices = self.members.iter().map(|(_, index)| *index).collect();
        Ok(choice(columns, Rows::Columns(indices), dtype, Vec::new()))
    }
}

fn listed(columns: &[Column]) -> String {
    let names = columns.iter().take(NAMED).map(|column| format!("{} ({})", column.name, column.kind));
    let names = names.collect::<Vec<_>>().join(", ");
    match columns.len().saturating_sub(NAMED) {
        0 if columns.is_empty() => "no columns".into(),
        0 => names,
        more => format!("{names} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(columns: &[(&str, Kind)], key: &str) -> Result<Rows, String> {
        let columns: Vec<Column> =
            columns.iter().map(|(name, kind)| Column { name: (*name).into(), kind: kind.clone() }).collect();
        choose(Path::new("t"), &columns, key).map(|choice| choice.rows).map_err(|error| error.to_string())
    }

    #[test]
    fn numbered_columns_are_sorted_by_number_and_must_be_complete() {
        let float = || Kind::Float(Dtype::Float32);
        let text = || Kind::Other("string".into());
        let ten: Vec<(String, Kind)> = (0..11).rev().map(|n| (format!("dim_{n}"), float())).collect();
        let ten: Vec<(&str, Kind)> = ten.iter().map(|(name, kind)| (name.as_str(), kind.clone())).collect();
        assert_eq!(chosen(&ten, "embeddings"), Ok(Rows::Columns((0..11).rev().collect())));
        assert_eq!(chosen(&ten, "dim"), Ok(Rows::Columns((0..11).rev().collect())));

        let gap = [("e_00", float()), ("e_02", float()), ("id", text())];
        assert!(chosen(&gap, "embeddings").is_err_and(|what| what.contains("\"e_01\" is missing")));
        let odd = [("e_00", float()), ("e_01", text()), ("e_02", float())];
        assert!(chosen(&odd, "embeddings").is_err_and(|what| what.contains("\"e_01\" holds string")));
        let mixed = [("e0", float()), ("e1", Kind::Float(Dtype::Float64))];
        assert!(chosen(&mixed, "embeddings").is_err_and(|what| what.contains("float64")));
        let twice = [("e0", float()), ("e1", float()), ("e01", float())];
        assert!(chosen(&twice, "embeddings").is_err_and(|what| what.contains("twice")));
    }

    #[test]
    fn lists_go_by_name_and_else_there_must_be_one() {
        let list = || Kind::List(Dtype::Float32, None);
        let text = || Kind::Other("string".into());
        assert_eq!(chosen(&[("x", list()), ("vector", list())], "embeddings"), Ok(Rows::List(1, None)));
        assert_eq!(chosen(&[("id", text()), ("x", list())], "embeddings"), Ok(Rows::List(1, None)));
        assert_eq!(chosen(&[("y", list()), ("x", list())], "x"), Ok(Rows::List(1, None)));
        assert!(chosen(&[("y", list()), ("x", list())], "embeddings").is_err());
        assert!(chosen(&[("id", text()), ("x", list())], "id").is_err_and(|what| what.contains("not lists")));
        assert!(chosen(&[("id", text())], "embeddings").is_err_and(|what| what.contains("no column of floats")));
    }
}
