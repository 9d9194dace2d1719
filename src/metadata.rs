//! The metadata of a store: the keys of the legacy dict, and what identifies the content.

use std::ops::Range;

use embstore_formats::articles::ArticlesWritten;
use embstore_formats::{ArrayMeta, Checksum, Fields, Layout};
use serde_json::{Value, json};

use crate::job::layout_fields;
use crate::journal::Landed;
use crate::plan::{Part, Plan, RowRange};
use crate::quality::Quality;
use crate::update::recorded;

pub(crate) const METADATA_CHECKSUM: &str = "metadata_checksum";

/// Keys of the metadata that are not part of the legacy dict.
const OWN_KEYS: [&str; 6] = ["embstore_version", "store_id", "row_range", "matrix", "articles", METADATA_CHECKSUM];

/// What is said about a matrix, whatever it came from.
pub(crate) struct Description {
    pub(crate) array: ArrayMeta,
    pub(crate) model: Value,
    pub(crate) timestamp: String,
    pub(crate) quality_metrics: Fields,
    pub(crate) chunk_info: Value,
    pub(crate) checksum: Checksum,
    /// Of the bytes before the rows, where they are final.
    pub(crate) header: Option<Checksum>,
    /// Rows of the checkpoints that are kept.
    pub(crate) row_range: RowRange,
    /// What was asked of the layout.
    pub(crate) layout: Layout,
    /// What the file of the articles was.
    pub(crate) articles_source: Option<Value>,
}

impl Description {
    /// The metadata in its order. `legacy` leaves out what the legacy dict does not have.
    pub(crate) fn to_fields(&self, articles: Option<&ArticlesWritten>, legacy: bool) -> Fields {
        let (rows, cols) = (self.array.rows(), self.array.cols());
        let mut fields = Fields::new();
        let mut put = |key: &str, value: Value| fields.insert(key.into(), value);
        put("total_articles", json!(rows));
        put("embedding_dim", json!(cols));
        put("model", self.model.clone());
        put("timestamp", json!(self.timestamp));
        put("shape", json!([rows, cols]));
        put("quality_metrics", Value::Object(self.quality_metrics.clone()));
        put("chunk_info", self.chunk_info.clone());
        put("embstore_version", json!(env!("CARGO_PKG_VERSION")));
        put("store_id", json!(store_id(self.array, self.checksum, articles)));
        put("row_range", json!([self.row_range.start, self.row_range.end]));
        let mut matrix = measured(self.checksum);
        // The checksum is of the float32 that the rows are read as, also where they are stored as something narrower.
        matrix["bytes"] = json!(self.array.payload_bytes());
        if let Some(header) = self.header {
            matrix["header"] = measured(header);
        }
        put("matrix", matrix);
        put(
            "articles",
            articles.map_or(Value::Null, |written| {
                let mut entry = measured(written.checksum);
                entry["count"] = json!(written.count);
                if let Some(source) = &self.articles_source {
                    entry["source"] = source.clone();
                }
                entry
            }),
        );
        let layout = layout_fields(&self.layout);
        if !layout.is_empty() {
            fields.insert("layout".into(), Value::Object(layout));
        }
        let own = metadata_checksum(&fields);
        fields.insert(METADATA_CHECKSUM.into(), json!(own));
        if legacy {
            OWN_KEYS.iter().for_each(|key| drop(fields.shift_remove(*key)));
        }
        fields
    }
}

/// Of all values but itself and the timestamp, which alone differs between two builds of one store.
pub(crate) fn metadata_checksum(fields: &Fields) -> String {
    let others = fields.iter().filter(|(key, _)| !["timestamp", METADATA_CHECKSUM].contains(&key.as_str()));
    let others: Fields = others.map(|(key, value)| (key.clone(), value.clone())).collect();
    Checksum::of(Value::Object(others).to_string().as_bytes()).to_string()
}

fn measured(checksum: Checksum) -> Value {
    json!({"bytes": checksum.len(), "checksum": checksum.to_string()})
}

/// Derived from shape and content: the same rows and articles have the same id wherever they were merged.
pub(crate) fn store_id(array: ArrayMeta, matrix: Checksum, articles: Option<&ArticlesWritten>) -> String {
    let articles = articles.map_or(0, |written| written.checksum.value());
    let shape = Checksum::of(format!("{}x{}", array.rows(), array.cols()).as_bytes());
    format!("{:016x}{:016x}", matrix.value() ^ shape.value(), articles)
}

/// Quality and checksum of the rows `rows`, which begin and end with pieces.
pub(crate) fn gather(landed: &Landed, rows: Range<u64>) -> (Quality, Checksum) {
    let (mut quality, mut checksum) = (Quality::default(), Checksum::default());
    for piece in landed.range(rows).map(|(_, piece)| piece) {
        quality.merge(&piece.quality);
        checksum = checksum.then(piece.checksum());
    }
    (quality, checksum)
}

/// Checksum of the float32 rows `rows` as they were before they were stored as anything narrower.
pub(crate) fn source_checksum(landed: &Landed, rows: Range<u64>) -> Checksum {
    landed.range(rows).fold(Checksum::default(), |sum, (_, piece)| sum.then(piece.source_checksum()))
}

/// One entry a checkpoint, in row order.
pub(crate) fn chunk_info(plan: &Plan, landed: &Landed) -> Value {
    let chunk = |part: &Part| {
        let checkpoint = &part.checkpoint;
        let mut source = recorded(checkpoint.identity);
        source["dtype"] = json!(checkpoint.array.dtype.name());
        source["key"] = json!(checkpoint.key);
        let entry = json!({
            "file": checkpoint.name(),
            "cluster_id": checkpoint.cluster_id,
            "gpu_id": checkpoint.gpu_id,
            "start_index": part.range.start,
            "end_index": part.range.end,
            "source": source,
        });
        measured_chunk(entry, part.store_row..part.store_row + part.rows, &plan.array(), landed)
    };
    plan.parts().iter().map(chunk).collect()
}

/// An entry of `chunk_info` with what was measured over its rows of the store.
pub(crate) fn measured_chunk(mut entry: Value, rows: Range<u64>, array: &ArrayMeta, landed: &Landed) -> Value {
    let (quality, checksum) = gather(landed, rows.clone());
    let count = rows.end - rows.start;
    entry["rows"] = json!(count);
    entry["quality"] = Value::Object(quality.to_json((count, array.cols()), array.dtype, &|_| None));
    entry["source"]["checksum"] = json!(checksum.to_string());
    entry
}
