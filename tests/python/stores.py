"""Every kind of store and export that embstore writes, and how its own library reads it: the table that suites go through."""

from __future__ import annotations

import json
import pickle
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from harness import sidecars


@dataclass(frozen=True)
class Kind:
    format: str
    suffix: str
    flags: tuple[str, ...] = ()
    chunked: bool = False
    """Rows are handed over in whole chunks."""
    dtypes: tuple[str, ...] = ("float16",)
    """What `--dtype` can be beside float32."""

    def __str__(self) -> str:
        return "-".join([self.format, *(flag for flag in self.flags if not flag.startswith("--"))])


ZSTD, SHARDS = ("--compression", "zstd:1"), ("--shard-rows", "1000", "--chunk-rows", "250")
SMALL = ("--chunk-rows", "300")

STORES = [
    Kind("npy", ".npy"),
    Kind("pickle", ".pkl"),
    Kind("hdf5", ".h5"),
    Kind("hdf5", ".h5", SMALL, chunked=True),
    Kind("hdf5", ".h5", (*SMALL, *ZSTD), chunked=True),
    Kind("hdf5", ".h5", (*SMALL, "--compression", "deflate"), chunked=True),
    Kind("hdf5", ".h5", (*SMALL, "--compression", "lz4"), chunked=True),
    Kind("zarr", ".zarr"),
    Kind("zarr", ".zarr", SMALL),
    Kind("zarr", ".zarr", (*SMALL, *ZSTD), chunked=True),
    Kind("zarr", ".zarr", (*SMALL, "--compression", "blosc-lz4"), chunked=True),
    Kind("zarr", ".zarr", (*SMALL, "--compression", "deflate:1"), chunked=True),
    Kind("zarr", ".zarr", SHARDS, chunked=True),
    Kind("zarr", ".zarr", (*SHARDS, *ZSTD), chunked=True),
    Kind("zarr", ".zarr", ("--zarr-version", "2", *SMALL)),
    Kind("zarr", ".zarr", ("--zarr-version", "2", *SMALL, *ZSTD), chunked=True),
]
EXPORTS = [
    Kind("safetensors", ".safetensors", dtypes=("float16", "bfloat16")),
    Kind("parquet", ".parquet"),
    Kind("parquet", ".parquet", (*SMALL, *ZSTD)),
    Kind("arrow", ".arrow"),
    Kind("arrow", ".arrow", SMALL),
]
KINDS = STORES + EXPORTS
RESUMABLE = STORES


def read_rows(path: Path, kind: Kind) -> np.ndarray:
    """All rows, as the format's own library gives them."""
    if kind.format == "npy":
        return np.load(path, mmap_mode="r")
    if kind.format == "pickle":
        return load_pickle(path)["embeddings"]
    if kind.format == "hdf5":
        import h5py
        import hdf5plugin  # noqa: F401  (registers the filters)

        with h5py.File(path, "r") as file:
            return file["embeddings"][:]
    if kind.format == "zarr":
        import zarr

        return zarr.open_group(path, mode="r")["embeddings"][:]
    if kind.format == "safetensors":
        return safetensors_rows(path)
    table = read_table(path, kind)
    column = table["embeddings"].combine_chunks()
    return column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), -1)


def load_pickle(path: Path) -> dict:
    with open(path, "rb") as file:
        return pickle.load(file)


def safetensors_rows(path: Path) -> np.ndarray:
    """numpy has no bfloat16 of its own, so the bytes are taken apart by the documented header."""
    import ml_dtypes
    from safetensors import deserialize

    ((_, tensor),) = deserialize(path.read_bytes())
    dtype = {"F32": np.float32, "F16": np.float16, "BF16": ml_dtypes.bfloat16}[tensor["dtype"]]
    return np.frombuffer(tensor["data"], dtype).reshape(tensor["shape"])


def read_table(path: Path, kind: Kind):
    import pyarrow.feather as feather
    import pyarrow.parquet as pq

    return pq.read_table(path) if kind.format == "parquet" else feather.read_table(path)


def read_articles(path: Path, kind: Kind) -> list[dict] | None:
    """`[{id, title, url}]` in row order; `None` or nothing where there are none."""
    if kind.format in ("npy", "safetensors"):
        import pyarrow.parquet as pq

        articles = sidecars(path)[0]
        return pq.read_table(articles).to_pylist() if articles.exists() else None
    if kind.format == "pickle":
        return load_pickle(path)["articles"]
    if kind.format in ("parquet", "arrow"):
        table = read_table(path, kind)
        return table.select(["id", "title", "url"]).to_pylist() if "id" in table.column_names else None
    columns = {}
    if kind.format == "hdf5":
        import h5py

        with h5py.File(path, "r") as file:
            if "articles" not in file:
                return None
            for key in ("id", "title", "url"):
                columns[key] = [text.decode() for text in file["articles"][key][:]]
    else:
        import zarr

        group = zarr.open_group(path, mode="r")
        if "articles" not in group:
            return None
        columns = {key: [str(text) for text in group["articles"][key][:]] for key in ("id", "title", "url")}
    return [dict(zip(columns, values)) for values in zip(*columns.values())]


def read_metadata(path: Path, kind: Kind) -> dict:
    """The metadata, read as a downstream tool would."""
    if kind.format in ("npy", "safetensors"):
        return json.loads(sidecars(path)[1].read_text())
    if kind.format == "pickle":
        told = load_pickle(path)
        return {k: no_tuples(v) for k, v in told.items() if k not in ("embeddings", "articles")}
    if kind.format == "zarr":
        import zarr

        return dict(zarr.open_group(path, mode="r").attrs)
    if kind.format == "hdf5":
        import h5py

        with h5py.File(path, "r") as file:
            return {key: plain(value) for key, value in file.attrs.items()}
    if kind.format == "parquet":
        import pyarrow.parquet as pq

        return json.loads(pq.read_metadata(path).metadata[b"embstore"])
    import pyarrow.ipc as ipc

    return json.loads(ipc.open_file(path).metadata[b"embstore"])


def no_tuples(value):
    """Shapes are tuples in the legacy dict, and lists only for want of tuples in JSON."""
    if isinstance(value, dict):
        return {key: no_tuples(item) for key, item in value.items()}
    return [no_tuples(item) for item in value] if isinstance(value, (list, tuple)) else value


def plain(value):
    """An HDF5 attribute: nested values are JSON text."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, str) and value[:1] in ("{", "[") or value == "null":
        return json.loads(value)
    return value
