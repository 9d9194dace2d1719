//! What datasets a file holds: to find the one that is meant, and to tell what is there in place of it.

use hdf5::{Dataset, File, Group, IndexType, IterationOrder, LinkType};

use crate::dtype::{ByteOrder, Dtype};

use super::raw::{self, Element};

/// Datasets that are looked at, and links in all.
const MOST_DATASETS: usize = 64;
const MOST_LINKS: usize = 4096;
/// Groups within groups.
const DEEPEST: usize = 8;
/// Datasets that a message names.
const NAMED: usize = 12;

/// A dataset by its path in the file.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) name: String,
    pub(super) shape: Vec<u64>,
    pub(super) element: Element,
}

impl Found {
    pub(super) fn of(name: String, dataset: &Dataset) -> hdf5::Result<Self> {
        let shape = dataset.space()?.shape().into_iter().map(|dim| dim as u64).collect();
        Ok(Found { name, shape, element: raw::element(&dataset.dtype()?) })
    }

    /// Rows, columns and element type, if it is a matrix of floats.
    pub(super) fn matrix(&self) -> Option<(u64, u64, Dtype, ByteOrder)> {
        match (self.shape.as_slice(), self.element) {
            (&[rows, cols], Element::Float(dtype, order)) => Some((rows, cols, dtype, order)),
            _ => None,
        }
    }

    /// Its shape and type in words.
    pub(super) fn describe(&self) -> String {
        let shape = self.shape.iter().map(u64::to_string).collect::<Vec<_>>().join(" x ");
        let element = match self.element {
            Element::Float(dtype, ByteOrder::Little) => dtype.name().to_string(),
            Element::Float(dtype, ByteOrder::Big) => format!("big-endian {dtype}"),
            Element::Integer { .. } => "integers".into(),
            Element::Boolean => "booleans".into(),
            Element::FixedText | Element::Text => "text".into(),
            Element::Other(word) => word.into(),
        };
        if shape.is_empty() { format!("one value, {element}") } else { format!("{shape}, {element}") }
    }
}

/// The first datasets of a file, by their paths. Soft and external links are not followed, nor are broken objects.
pub(super) fn datasets(file: &File) -> Vec<Found> {
    let mut search = Search { found: Vec::new(), links: 0 };
    search.visit(file, "", 0);
    search.found
}

/// The datasets in words.
pub(super) fn list(found: &[Found]) -> String {
    let mut words: Vec<String> =
        found.iter().take(NAMED).map(|found| format!("{:?} ({})", found.name, found.describe())).collect();
    if found.len() > NAMED {
        words.push("others".into());
    }
    if words.is_empty() { "no dataset".into() } else { words.join(", ") }
}

struct Search {
    found: Vec<Found>,
    links: usize,
}

impl Search {
    fn visit(&mut self, group: &Group, path: &str, depth: usize) {
        let mut names = Vec::new();
        // What cannot be iterated over is as good as empty: this serves messages.
        let _ = group.find_link(IndexType::Name, IterationOrder::Increasing, |name, link| {
            self.links += 1;
            if link.link_type == LinkType::Hard {
                names.push(name.to_string());
            }
            Ok((self.links >= MOST_LINKS).then_some(()))
        });
        for name in names {
            if self.found.len() >= MOST_DATASETS {
                return;
            }
            let path = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
            if let Ok(dataset) = group.dataset(&name) {
                self.found.extend(Found::of(path, &dataset));
            } else if depth < DEEPEST
                && self.links < MOST_LINKS
                && let Ok(group) = group.group(&name)
            {
                self.visit(&group, &path, depth + 1);
            }
        }
    }
}
