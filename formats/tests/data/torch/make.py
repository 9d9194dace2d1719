"""Writes the PyTorch files beside it, and expected.json with what they hold.

Run with torch==2.15.0 and numpy==2.4.6:  python make.py

The files are committed because PyTorch itself is far too large for CI. They are written with the newest PyTorch alone;
its zip format is that of every version since 1.6.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).parent
expected: dict[str, dict] = {}


def rows(count: int = 6, dim: int = 5, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(seed))


def checkpoint(embeddings, start: int = 0, **extra) -> dict:
    return {
        "embeddings": embeddings,
        "start_index": start,
        "end_index": start + len(embeddings),
        "cluster_id": 2,
        "gpu_id": 3,
        "model": "google/embeddinggemma-300m",
        **extra,
    }


def save(name: str, value, tensor: torch.Tensor | np.ndarray, key: str = "embeddings", **options) -> None:
    torch.save(value, HERE / name, **options)
    # Hexadecimal floats are exact.
    matrix = np.asarray(tensor.float() if isinstance(tensor, torch.Tensor) else tensor).astype(np.float64)
    expected[name] = {"key": key, "rows": [[value.hex() for value in row] for row in matrix.tolist()]}


def main() -> None:
    t = rows()
    save("checkpoint.pt", checkpoint(t, start=100), t)
    save("bare.pt", t, t)
    for name, dtype in [("float16", torch.float16), ("bfloat16", torch.bfloat16), ("float64", torch.float64)]:
        save(f"{name}.pt", checkpoint(t.to(dtype)), t.to(dtype))
    save("transposed.pt", checkpoint(rows(5, 6).T), rows(5, 6).T)
    whole = rows(20, 5)
    save("view.pt", {"whole": whole.flatten(), **checkpoint(whole[7:13])}, whole[7:13])
    save("parameter.pt", checkpoint(torch.nn.Parameter(t)), t.detach())
    save("numpy_inside.pt", checkpoint(t.numpy()), t)
    save("numpy_inside_p4.pt", checkpoint(t.numpy()), t, pickle_protocol=4)
    save("scalar_tensors.pt", {**checkpoint(t), "start_index": torch.tensor(0), "end_index": torch.tensor([6])}, t)
    many = {
        "size": t.shape,
        "device": t.device,
        "dtype": t.dtype,
        "mask": torch.zeros(6, dtype=torch.bool),
        "ids": torch.arange(6),
        "unsigned": torch.zeros(3, dtype=torch.uint16),
        "complex": torch.zeros(2, dtype=torch.complex64),
        "nested": OrderedDict(weight=rows(2, 2), empty=torch.zeros(0, 4)),
    }
    save("many_values.pt", checkpoint(t, **many), t)
    save("sole.pt", {"weights": t, "bias": torch.zeros(5)}, t, key="weights")
    model = torch.nn.Sequential(torch.nn.Linear(5, 3), torch.nn.Embedding(7, 5))
    save("state_dict.pth", model.state_dict(), model.state_dict()["1.weight"], key="1.weight")

    # What is refused.
    torch.save(checkpoint(rows(6, 10)[:, ::2]), HERE / "strided.pt")
    torch.save(checkpoint(torch.arange(30).reshape(6, 5)), HERE / "integers.pt")
    torch.save(checkpoint(t), HERE / "legacy.pt", _use_new_zipfile_serialization=False)
    torch.save(torch.nn.Linear(5, 3), HERE / "module.pt")
    torch.save(checkpoint(t.to_sparse()), HERE / "sparse.pt")

    # Big-endian, as such a machine would have written it: swapped elements and another word in `byteorder`.
    buffer = io.BytesIO()
    torch.save(checkpoint(t), buffer)
    with zipfile.ZipFile(buffer) as old, zipfile.ZipFile(HERE / "big_endian.pt", "w") as new:
        for member in old.infolist():
            data = old.read(member)
            if member.filename.endswith("/byteorder"):
                data = b"big"
            if "/data/" in member.filename and member.filename.endswith("/0"):
                data = np.frombuffer(data, "<f4").astype(">f4").tobytes()
            new.writestr(member.filename, data)
    expected["big_endian.pt"] = {**expected["checkpoint.pt"]}
    (HERE / "expected.json").write_text(json.dumps(expected, indent=None, sort_keys=True).replace("]], ", "]],\n ") + "\n")


if __name__ == "__main__":
    main()
