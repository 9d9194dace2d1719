"""PyTorch files: those that formats/tests/data/torch/make.py wrote, and fresh ones where PyTorch is installed."""

from __future__ import annotations

import json
import pickle
import shutil
import zipfile

import numpy as np
import pytest
from harness import DATA, checkpoint, dump, fails, matrix, meta, same_bits, succeeds

FILES = DATA / "torch"
EXPECTED = json.loads((FILES / "expected.json").read_text())


def expected(name: str) -> np.ndarray:
    rows = EXPECTED[name]["rows"]
    return np.array([[float.fromhex(value) for value in row] for row in rows], dtype=np.float32)


def merged(tmp_path, *sources, options=()) -> np.ndarray:
    store = tmp_path / "merged.npy"
    succeeds("merge", *sources, "-o", store, "--force", *options)
    return np.load(store)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_rows_are_those_of_pytorch(tmp_path, name):
    key = EXPECTED[name]["key"]
    ranges = tmp_path / "ranges.jsonl"
    ranges.write_text(json.dumps({"file": name, "start_index": 0}) + "\n")
    options = ("--ranges", ranges) + (("--key", key) if key != "embeddings" else ())
    assert same_bits(merged(tmp_path, FILES / name, options=options), expected(name))


def test_a_checkpoint_with_its_range(tmp_path):
    other = matrix(100, 5)
    dump(tmp_path / "first.pkl", checkpoint(other, 0))
    rows = merged(tmp_path, FILES / "checkpoint.pt", tmp_path / "first.pkl")
    assert same_bits(rows, np.concatenate([other, expected("checkpoint.pt")]))
    told = meta(tmp_path / "merged.npy")["chunk_info"][1]
    assert (told["file"], told["start_index"], told["end_index"]) == ("checkpoint.pt", 100, 106)
    assert (told["cluster_id"], told["gpu_id"]) == (2, 3)


def test_a_range_in_tensors_of_one_element(tmp_path):
    info = succeeds("info", "--json", FILES / "scalar_tensors.pt").json()
    assert info["kind"] == "checkpoint"
    assert (info["metadata"]["start_index"], info["metadata"]["end_index"]) == (0, 6)


def test_info_describes_what_else_is_there():
    info = succeeds("info", "--json", FILES / "many_values.pt").json()
    assert (info["kind"], info["format"], info["shape"], info["dtype"]) == ("checkpoint", "torch", [6, 5], "float32")
    told = info["metadata"]
    assert told["model"] == "google/embeddinggemma-300m" and told["size"] == [6, 5]
    assert told["mask"] == {"array": {"shape": [6], "dtype": "bool"}}
    assert told["ids"] == {"array": {"shape": [6], "dtype": "int64"}}
    assert told["unsigned"] == {"array": {"shape": [3], "dtype": "torch.uint16"}}
    assert told["nested"]["weight"] == {"array": {"shape": [2, 2], "dtype": "float32"}}
    assert succeeds("info", "--json", FILES / "bare.pt").json()["kind"] == "array"
    big = succeeds("info", "--json", FILES / "big_endian.pt").json()
    assert big["kind"] == "checkpoint" and big["metadata"]["end_index"] == 6


def test_a_state_dict_lists_its_tensors(tmp_path):
    said = fails("merge", FILES / "state_dict.pth", "-o", tmp_path / "x.npy")
    assert "0.weight (3 5) float32" in said and "0.bias (3) float32" in said and "--key" in said
    info = succeeds("info", "--json", FILES / "state_dict.pth").json()
    assert info["kind"] == "other" and info["metadata"]["1.weight"] == {"array": {"shape": [7, 5], "dtype": "float32"}}


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("strided.pt", ["strides", "contiguous()"]),
        ("integers.pt", ["int64", "float()"]),
        ("legacy.pt", ["legacy", "torch.save(torch.load("]),
        ("module.pt", ["torch.nn.modules.linear.Linear"]),
        ("sparse.pt", ["torch.serialization._get_layout", "numpy()"]),
    ],
)
def test_what_is_refused_says_why(tmp_path, name, told):
    said = fails("merge", FILES / name, "-o", tmp_path / "x.npy")
    assert all(word in said for word in told), said
    if name in ("strided.pt", "integers.pt"):
        assert succeeds("info", "--json", FILES / name).json()["kind"] == "other"
    else:
        fails("info", FILES / name)


def rewritten(path, source: str = "checkpoint.pt", method=zipfile.ZIP_STORED, **members) -> None:
    """A PyTorch file with other bytes in some members; ``None`` leaves one out."""
    with zipfile.ZipFile(FILES / source) as old, zipfile.ZipFile(path, "w", method) as new:
        for info in old.infolist():
            short = info.filename.split("/", 1)[1].replace("/", "_").replace(".", "_")
            data = members.get(short, old.read(info))
            if data is not None:
                new.writestr(info.filename, data)


def data_pkl(source: str = "checkpoint.pt") -> bytes:
    with zipfile.ZipFile(FILES / source) as archive:
        return archive.read(next(name for name in archive.namelist() if name.endswith("/data.pkl")))


def test_any_zip_program_may_have_written_it(tmp_path):
    rewritten(tmp_path / "c.pt")
    dump(tmp_path / "first.pkl", checkpoint(matrix(100, 5), 0))
    assert same_bits(merged(tmp_path, tmp_path / "c.pt", tmp_path / "first.pkl")[100:], expected("checkpoint.pt"))


@pytest.mark.parametrize(
    "members",
    [
        {"data_0": None},
        {"data_0": bytes(119)},
        {"data_0": b""},
        {"byteorder": b"middle"},
        {"data_pkl": b""},
        {"data_pkl": data_pkl()[:-1]},
        {"data_pkl": data_pkl()[:40]},
        {"data_pkl": data_pkl().replace(b"FloatStorage", b"DoubleStorage")},
        {"data_pkl": data_pkl().replace(b"FloatStorage", b"NoStorage123")},
        {"data_pkl": data_pkl().replace(b"torch._utils\n_rebuild_tensor_v2", b"os\nsystem")},
        {"data_pkl": data_pkl().replace(b"storage", b"STORAGE")},
        {"data_pkl": data_pkl().replace(b"K\x06K\x05\x86", b"K\x06K\x07\x86")},
        {"data_pkl": data_pkl().replace(b"K\x05K\x01\x86", b"K\xffK\x01\x86")},
        {"data_pkl": data_pkl().replace(b"K\x05K\x01\x86", b"J\xff\xff\xff\xffK\x01\x86")},
    ],
)
def test_broken_files_give_one_error(tmp_path, members):
    assert all(value != data_pkl() for value in members.values())
    path = tmp_path / "c.pt"
    rewritten(path, **members)
    fails("merge", path, "-o", tmp_path / "x.npy")
    fails("info", path)
    assert not (tmp_path / "x.npy").exists()


def test_truncations_and_compression_give_one_error(tmp_path):
    path = tmp_path / "c.pt"
    rewritten(path, method=zipfile.ZIP_DEFLATED)
    assert "deflated" in fails("merge", path, "-o", tmp_path / "x.npy")
    whole = (FILES / "checkpoint.pt").read_bytes()
    for length in (63, 100, 500, 1000, len(whole) - 1):
        path.write_bytes(whole[:length])
        fails("merge", path, "-o", tmp_path / "x.npy")


def test_a_persistent_id_in_an_ordinary_pickle_is_refused(tmp_path):
    path = tmp_path / "c.pkl"
    path.write_bytes(data_pkl())
    assert "persistent id" in fails("merge", path, "-o", tmp_path / "x.npy")


def test_a_folder_of_pytorch_files(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    shutil.copy(FILES / "checkpoint.pt", folder / "late.pt")
    dump(folder / "early.bin", checkpoint(matrix(100, 5), 0))
    assert same_bits(merged(tmp_path, folder)[100:], expected("checkpoint.pt"))


@pytest.fixture
def torch():
    try:
        import torch
    except ImportError:
        pytest.skip("platform: PyTorch is not installed")
    return torch


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_fresh_files(tmp_path, torch, protocol):
    rows = matrix(300, 24)
    whole = torch.from_numpy(rows.copy())
    halves = [whole[150:], torch.nn.Parameter(whole[:150].clone())]
    for gpu, (start, half) in enumerate([(150, halves[0]), (0, halves[1])]):
        torch.save(checkpoint(half, start, 1, gpu), tmp_path / f"p{gpu}.pt", pickle_protocol=protocol)
    assert same_bits(merged(tmp_path, tmp_path / "p0.pt", tmp_path / "p1.pt"), rows)
    torch.save(checkpoint(whole.to(torch.bfloat16).T.contiguous().T, 0), tmp_path / "t.pt", pickle_protocol=protocol)
    assert same_bits(merged(tmp_path, tmp_path / "t.pt"), whole.to(torch.bfloat16).float().numpy())


def test_a_tensor_in_a_plain_pickle_is_refused_by_name(tmp_path, torch):
    path = tmp_path / "c.pkl"
    with open(path, "wb") as file:
        pickle.dump(checkpoint(torch.zeros(3, 4), 0), file)
    said = fails("merge", path, "-o", tmp_path / "x.npy")
    assert "torch.storage._load_from_bytes" in said and "numpy()" in said
