//! Writes what is known of the clusters: `clusters.json`.

use std::fs;
use std::io::Write;
use std::path::Path;

use embstore_cluster::Clustering;
use serde_json::{Value, json};

use super::error::ClusterError;
use super::examples::{Examples, RowOf};
use super::record::Record;
use crate::table::Staged;

/// The record that a summary tells, but for the number of clusters; `None` for files of another origin.
pub(super) fn record(path: &Path) -> Option<Value> {
    let told: Value = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
    told.get("input_hash").is_some().then(|| without_clusters(told))
}

/// A record as the summary has it: the list of clusters is in the place of their number.
pub(super) fn without_clusters(mut record: Value) -> Value {
    if let Some(fields) = record.as_object_mut() {
        fields.remove("clusters");
    }
    record
}

/// Writes the summary under a passing name: the record, and of every cluster its label, size, persistence, the rows of
/// its exemplars, and texts of some where it is a large one.
pub(super) fn write(
    path: &Path,
    record: &Record,
    clustering: &Clustering,
    dropped: &[u64],
    examples: &Examples,
) -> Result<Staged, ClusterError> {
    let staged = Staged::of_this_process(path)?;
    let (row_of, found) = (RowOf::new(dropped), examples.found());
    let cluster = |(label, cluster): (usize, &embstore_cluster::Cluster)| {
        let exemplars: Vec<u64> = cluster.exemplars.iter().map(|point| row_of.point(*point)).collect();
        let mut entry = json!({
            "label": label,
            "size": cluster.size,
            "persistence": cluster.persistence,
            "node": cluster.node,
            "exemplars": exemplars,
        });
        if let Some(texts) = found.get(&label).filter(|texts| !texts.is_empty()) {
            entry["examples"] = json!(texts);
        }
        entry
    };
    let io = |source| ClusterError::Io { action: "write", path: path.to_path_buf(), source };
    let mut summary = serde_json::to_value(record).map_err(|error| io(error.into()))?;
    // The list takes the place of its length.
    summary["clusters"] = clustering.clusters.iter().enumerate().map(cluster).collect::<Value>();
    let mut file = std::io::BufWriter::new(staged.file()?);
    serde_json::to_writer_pretty(&mut file, &summary).map_err(|error| io(error.into()))?;
    writeln!(file).and_then(|()| file.flush()).map_err(io)?;
    drop(file);
    Ok(staged)
}
