//! What the inputs of a group hold, in one checksum: a result is up to date as long as it is the same.

use std::fs;
use std::path::{Path, PathBuf};

use embstore_formats::{Checksum, FormatError, StoreFiles, detect};

use crate::checkpoint::file_name;

/// The checksum of names and contents of `inputs` and of the articles beside them, in the order of their paths; of
/// folders, of all files in them.
pub(super) fn input_hash(mut inputs: Vec<PathBuf>) -> Result<String, FormatError> {
    let articles = |path: &PathBuf| store_files(path)?.articles.filter(|articles| articles.is_file());
    let beside: Vec<PathBuf> = inputs.iter().filter_map(articles).collect();
    inputs.extend(beside);
    inputs.sort();
    let mut lines = String::new();
    for path in inputs {
        add(&path, &file_name(&path), &mut lines)?;
    }
    Ok(Checksum::of(lines.as_bytes()).to_string())
}

/// The files of a store whose matrix this is, whether they are there or not.
pub(super) fn store_files(path: &Path) -> Option<StoreFiles> {
    Some(detect(path).ok()?.store_files(path))
}

fn add(path: &Path, name: &str, lines: &mut String) -> Result<(), FormatError> {
    if !path.is_dir() {
        let checksum = Checksum::of_file(path).map_err(FormatError::io("read", path))?;
        lines.push_str(&format!("{name} {checksum}\n"));
        return Ok(());
    }
    let entries = fs::read_dir(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let mut entries = entries.map_err(FormatError::io("list", path))?;
    entries.sort_by_key(fs::DirEntry::file_name);
    entries.iter().try_for_each(|entry| {
        let path = entry.path();
        add(&path, &format!("{name}/{}", file_name(&path)), lines)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_contents_count_and_their_order_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, text).unwrap();
            path
        };
        let (a, b) = (write("a", "1"), write("z/b", "2"));
        let hash = |paths: &[PathBuf]| input_hash(paths.to_vec()).unwrap();
        let both = hash(&[a.clone(), b.clone()]);
        assert_eq!(both, hash(&[a.clone(), b.clone()]));
        assert_eq!(both, hash(&[b.clone(), a.clone()]));
        assert_ne!(both, hash(std::slice::from_ref(&a)));
        let whole = hash(&[folder.path().to_path_buf()]);
        write("z/b", "3");
        assert_ne!(both, hash(&[a.clone(), b.clone()]));
        assert_ne!(whole, hash(&[folder.path().to_path_buf()]));
        assert!(input_hash(vec!["missing".into()]).is_err());
    }
}
