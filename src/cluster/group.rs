//! What is clustered together, and where its results go.

use std::path::{Path, PathBuf};

use super::error::ClusterError;
use super::options::{ClusterOptions, ClusterSource};
use crate::checkpoint::file_name;
use crate::inputs::resolved;
use crate::progress::Cancel;
use crate::table::{FolderOfTables, walk};

/// The name of the result of a folder.
const RESULT: &str = "clustered.parquet";
/// What is known of the clusters of a folder.
const SUMMARY: &str = "clusters.json";
/// How many names a message lists.
const LISTED: usize = 5;

/// What is clustered together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// What people call it: the folder below the root, or the store.
    pub name: String,
    /// Its files.
    pub inputs: Vec<PathBuf>,
    /// The Parquet file of the result.
    pub output: PathBuf,
    /// The JSON file of its clusters.
    pub summary: PathBuf,
    /// The Parquet file of its condensed tree.
    pub condensed_tree: Option<PathBuf>,
}

impl Group {
    /// All groups that are meant.
    ///
    /// # Errors
    /// Where there are none, or results would be taken for embeddings.
    pub(super) fn find(options: &ClusterOptions, cancel: &Cancel) -> Result<Vec<Group>, ClusterError> {
        let tree_name = options.condensed_tree.as_deref();
        match &options.source {
            ClusterSource::Rows { inputs, output } => Ok(vec![Group {
                name: inputs.first().map(|input| input.display().to_string()).unwrap_or_default(),
                inputs: inputs.clone(),
                output: output.clone(),
                summary: output.with_extension("json"),
                condensed_tree: options.condensed_tree.clone(),
            }]),
            ClusterSource::Tree { embeddings, output, subreddit } => {
                if let Some(path) = tree_name.filter(|path| path.file_name() != Some(path.as_os_str())) {
                    return Err(ClusterError::NotAName { path: path.to_path_buf() });
                }
                if !embeddings.is_dir() {
                    return Err(ClusterError::NoEmbeddings { path: embeddings.clone() });
                }
                if resolved(output).starts_with(resolved(embeddings)) {
                    return Err(ClusterError::Nested { output: output.clone(), embeddings: embeddings.clone() });
                }
                let mut folders = walk(embeddings, cancel)?;
                if folders.is_empty() {
                    return Err(ClusterError::NoFiles { path: embeddings.clone() });
                }
                if let Some(name) = subreddit {
                    folders = named(folders, name, embeddings)?;
                }
                Ok(folders.into_iter().map(|folder| of_folder(embeddings, folder, output, tree_name)).collect())
            }
        }
    }
}

fn of_folder(embeddings: &Path, folder: FolderOfTables, root: &Path, tree_name: Option<&Path>) -> Group {
    let FolderOfTables { path, files, .. } = folder;
    let (from, place) = (embeddings.join(&path), root.join(&path));
    Group {
        name: if path.as_os_str().is_empty() { ".".into() } else { path.display().to_string() },
        inputs: files.iter().map(|file| from.join(file)).collect(),
        output: place.join(RESULT),
        summary: place.join(SUMMARY),
        condensed_tree: tree_name.map(|name| place.join(name)),
    }
}

/// The folders of that name, or whose path ends so.
fn named(folders: Vec<FolderOfTables>, name: &str, root: &Path) -> Result<Vec<FolderOfTables>, ClusterError> {
    let (found, others): (Vec<_>, Vec<_>) = folders.into_iter().partition(|folder| folder.path.ends_with(name));
    if !found.is_empty() {
        return Ok(found);
    }
    let wanted = name.to_lowercase();
    let is_near = |name: &String| name.to_lowercase().contains(&wanted) || wanted.contains(&name.to_lowercase());
    let names: Vec<String> = others.iter().map(|folder| file_name(&folder.path)).collect();
    let mut near: Vec<&str> = names.iter().filter(|name| is_near(name)).map(String::as_str).take(LISTED).collect();
    if near.is_empty() {
        near = names.iter().map(String::as_str).take(LISTED).collect();
    }
    let near = format!("; there are {}{}", near.join(", "), if others.len() > near.len() { ", …" } else { "" });
    Err(ClusterError::NoSubreddit { path: root.to_path_buf(), name: name.into(), near })
}
