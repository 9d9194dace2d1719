"""One job as other tools do it, timed from after the imports to the last byte: prints the seconds.

    python benches/peers.py zarr-python|tensorstore|h5py SOURCE.npy TARGET [--compression NAME] [--sync]
    python benches/peers.py pyarrow SOURCE.parquet TARGET.npy [--sync]

The source is a mapped .npy, so nobody is charged for loading it. With --sync every file written is synced, by the tool
itself where it can (tensorstore), else one after the other at the end.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np

CHUNK_ROWS = 4096


def zarr_python(rows: np.ndarray, target: Path, compression: str | None, sync: bool):
    import zarr
    from zarr.codecs import BloscCodec, ZstdCodec

    codecs = {
        None: None,
        "zstd": ZstdCodec(level=1),
        "blosc-lz4": BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle", typesize=4),
    }

    def work() -> None:
        group = zarr.open_group(target, mode="w")
        array = group.create_array(
            "embeddings",
            shape=rows.shape,
            dtype="float32",
            chunks=(CHUNK_ROWS, rows.shape[1]),
            compressors=codecs[compression],
        )
        array[:] = rows
        if sync:
            sync_all(target)

    return work


def tensorstore(rows: np.ndarray, target: Path, compression: str | None, sync: bool):
    import tensorstore as ts

    codecs = {
        None: [],
        "zstd": [{"name": "zstd", "configuration": {"level": 1}}],
        "blosc-lz4": [
            {
                "name": "blosc",
                "configuration": {"cname": "lz4", "clevel": 5, "shuffle": "bitshuffle", "typesize": 4},
            }
        ],
    }

    def work() -> None:
        spec = {
            "driver": "zarr3",
            "kvstore": {"driver": "file", "path": f"{target}/embeddings/"},
            "context": {"file_io_sync": sync},
            "metadata": {
                "shape": rows.shape,
                "data_type": "float32",
                "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [CHUNK_ROWS, rows.shape[1]]}},
                "codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, *codecs[compression]],
            },
        }
        ts.open(spec, create=True).result().write(rows).result()

    return work


def h5py(rows: np.ndarray, target: Path, compression: str | None, sync: bool):
    import h5py
    import hdf5plugin

    filters = {
        None: {},
        "zstd": {"shuffle": True, **hdf5plugin.Zstd(clevel=1)},
        "deflate": {"compression": "gzip", "compression_opts": 4, "shuffle": True},
    }
    chunks = {"chunks": (CHUNK_ROWS, rows.shape[1])} if compression else {}

    def work() -> None:
        with h5py.File(target, "w") as file:
            dataset = file.create_dataset(
                "embeddings", shape=rows.shape, dtype="float32", **chunks, **filters[compression]
            )
            for first in range(0, len(rows), CHUNK_ROWS):
                dataset[first : first + CHUNK_ROWS] = rows[first : first + CHUNK_ROWS]
        if sync:
            sync_all(target)

    return work


def pyarrow(source: Path, target: Path, sync: bool):
    import pyarrow.parquet as pq

    def work() -> None:
        table = pq.read_table(source)
        names = sorted(name for name in table.column_names if name.startswith("emb_"))
        np.save(target, np.stack([table[name].to_numpy() for name in names], axis=1))
        if sync:
            sync_all(target)

    return work


def sync_all(path: Path) -> None:
    for each in [path, *path.rglob("*")] if path.is_dir() else [path]:
        descriptor = os.open(each, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("tool", choices=["zarr-python", "tensorstore", "h5py", "pyarrow"])
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--compression")
    parser.add_argument("--sync", action="store_true")
    args = parser.parse_args()
    if args.tool == "pyarrow":
        work = pyarrow(args.source, args.target, args.sync)
    else:
        tools = {"zarr-python": zarr_python, "tensorstore": tensorstore, "h5py": h5py}
        rows = np.load(args.source, mmap_mode="r")
        work = tools[args.tool](rows, args.target, args.compression, args.sync)
    began = time.perf_counter()
    work()
    print(time.perf_counter() - began)


if __name__ == "__main__":
    main()
