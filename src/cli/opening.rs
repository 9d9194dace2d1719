//! What to type in Python to open what was written.

use std::path::Path;

/// The call that opens `path`, a store or export in the format of this name.
pub(super) fn python(format: &str, path: &Path) -> String {
    let path = format!("{:?}", path.display().to_string());
    match format {
        "npy" => format!("np.load({path}, mmap_mode=\"r\")"),
        "zarr" => format!("zarr.open_group({path}, mode=\"r\")[\"embeddings\"]"),
        "hdf5" => format!("h5py.File({path})[\"embeddings\"]"),
        "safetensors" => format!("safetensors.safe_open({path}, \"numpy\").get_tensor(\"embeddings\")"),
        "parquet" => format!("pyarrow.parquet.read_table({path})"),
        "arrow" => format!("pyarrow.feather.read_table({path})"),
        _ => format!("pickle.load(open({path}, \"rb\"))[\"embeddings\"]"),
    }
}
