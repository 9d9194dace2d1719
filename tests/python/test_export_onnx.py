"""scripts/export_onnx.py: without torch, on the real model and on tiny ones, against vectors that torch computed."""

from __future__ import annotations

import collections
import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import export_onnx
import numpy as np
import onnx
import onnxruntime
import pytest
from embedding import write_texts
from harness import ROOT, contents, environment, succeeds

GOLDEN = ROOT / "encoder" / "tests" / "golden"
MINILM = ROOT / "models" / "minilm"


def export(*args, cwd: Path = ROOT) -> subprocess.CompletedProcess:
    command = [sys.executable, str(ROOT / "scripts" / "export_onnx.py"), "--writer", "onnx", *map(str, args)]
    return subprocess.run(command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300)


def exports(*args, **options) -> str:
    done = export(*args, **options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refuses(*args, **options) -> str:
    """What is said where nothing can be exported: what is wrong, and what to do."""
    done = export(*args, **options)
    assert done.returncode == 1, done.stdout
    lines = done.stderr.splitlines()
    assert len(lines) == 2 and lines[0].startswith("✗ ") and lines[1].startswith("  "), done.stderr
    return done.stderr


def session(path: Path, optimised: Path | None = None) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    if optimised:
        options.optimized_model_filepath = str(optimised)
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def vectors_of(run: onnxruntime.InferenceSession, texts: list[list[int]], pad: int, pooling: str) -> np.ndarray:
    """Of texts as tokens, in one batch, pooled."""
    ids = np.full((len(texts), max(map(len, texts))), pad, np.int64)
    mask = np.zeros_like(ids)
    for row, text in enumerate(texts):
        ids[row, : len(text)], mask[row, : len(text)] = text, 1
    feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
    (hidden,) = run.run(["last_hidden_state"], {given.name: feed[given.name] for given in run.get_inputs()})
    assert hidden.dtype == np.float32
    pool = {"mean": lambda rows: rows.mean(0), "cls": lambda rows: rows[0], "max": lambda rows: rows.max(0)}[pooling]
    return np.stack([pool(hidden[row, : len(text)]) for row, text in enumerate(texts)])


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    a, b = a.astype(np.float64), b.astype(np.float64)
    return (a * b).sum(1) / np.sqrt((a * a).sum(1) * (b * b).sum(1))


@pytest.fixture(scope="module")
def minilm(tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "deeper" / "minilm"
    said = exports("--model", "all-MiniLM-L6-v2", "--output", folder)
    assert "models/minilm → ONNX by onnx" in said and "compared with the weights" in said and "✓" in said
    return folder


def tiny(network: str, folder: Path, **changed) -> Path:
    """A tiny model, and what is to be different in its config.json."""
    shutil.copytree(GOLDEN / "tiny" / network, folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changed}))
    return folder


def test_the_real_model(minilm):
    tokens = json.loads((GOLDEN / "minilm.json").read_text())
    got = vectors_of(session(minilm / "model.onnx"), tokens, 0, "mean")
    expected = np.load(GOLDEN / "minilm.npy")
    assert cosines(got, expected).min() >= 0.99999
    assert np.abs(got / np.linalg.norm(got, axis=1, keepdims=True) - expected).max() <= 1e-6


def test_all_of_the_model_lies_beside_it(minilm):
    before, after = contents(MINILM), contents(minilm)
    added = {"model.onnx"}
    left_out = {".gitattributes", "fetched-from"}
    assert {name: digest for name, digest in after.items() if name not in added} == {
        name: digest for name, digest in before.items() if name not in left_out
    }
    assert [path.name for path in minilm.parent.iterdir()] == ["minilm"]


def test_both_folders_are_the_same_model_to_both_engines(minilm, tmp_path):
    library = next(Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.*"))
    source = write_texts(tmp_path / "in.parquet", ["a word", "and some more of them"])
    flags = ["--input", source, "--output", tmp_path / "out.parquet", "--json"]
    hashes = {}
    for name, model, engine in [("of", MINILM, "builtin"), ("builtin", minilm, "builtin"), ("onnx", minilm, "onnx")]:
        env = environment(ORT_DYLIB_PATH=str(library))
        # What another engine made of the same model is not made again.
        done = succeeds("embed", "work", "--model", model, "--engine", engine, "--device", "cpu", *flags, env=env)
        assert (done.json()["embedded"], done.json()["skipped"]) == ((1, 0) if name == "of" else (0, 1))
        hashes[name] = done.json()["model_hash"]
        assert engine == "builtin" or "agrees with the built-in engine" in done.err
    assert len(set(hashes.values())) == 1, hashes


def test_the_weights_are_a_link_or_a_copy(tmp_path, monkeypatch):
    weights = tmp_path / "elsewhere.safetensors"
    model = tiny("bert", tmp_path / "model")
    shutil.move(model / "model.safetensors", weights)
    (model / "model.safetensors").symlink_to(weights)
    exports("--model", model, "--output", tmp_path / "linked")
    made = tmp_path / "linked" / "model.safetensors"
    assert made.samefile(weights) and not made.is_symlink()

    def other_disk(*_):
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", other_disk)
    export_onnx.export(str(model), tmp_path / "copied", "onnx", None, False)
    made = tmp_path / "copied" / "model.safetensors"
    assert made.read_bytes() == weights.read_bytes() and not made.samefile(weights) and not made.is_symlink()


def test_an_exported_folder_can_be_exported_onto_itself(tmp_path):
    model = tiny("bert", tmp_path / "model")
    exports("--model", model, "--output", tmp_path / "out")
    before = contents(tmp_path / "out")
    exports("--model", tmp_path / "out", "--output", tmp_path / "out", "--force")
    assert contents(tmp_path / "out") == before and "model.safetensors" in before


def test_onnx_runtime_recognises_the_layers(minilm, tmp_path):
    session(minilm / "model.onnx", tmp_path / "optimised.onnx")
    kinds = collections.Counter(node.op_type for node in onnx.load(tmp_path / "optimised.onnx").graph.node)
    assert (kinds["Attention"], kinds["LayerNormalization"], kinds["BiasGelu"]) == (6, 13, 6), kinds


def test_it_is_plain_onnx(minilm):
    model = onnx.load(minilm / "model.onnx")
    assert {node.domain for node in model.graph.node} == {""}
    assert [opset.version for opset in model.opset_import] == [12]
    onnx.checker.check_model(model, full_check=True)


@pytest.mark.parametrize("network", ["bert", "bert-relu", "roberta"])
def test_other_families_and_activations(network, tmp_path):
    exports("--model", tiny(network, tmp_path / "model"), "--output", tmp_path / "out")
    run = session(tmp_path / "out" / "model.onnx")
    assert ("token_type_ids" in {given.name for given in run.get_inputs()}) == (network != "roberta")
    pad = json.loads((tmp_path / "model" / "config.json").read_text())["pad_token_id"]
    cases = [case for case in json.loads((GOLDEN / "tiny.json").read_text()) if case["model"] == network]
    assert cases
    for pooling in {case["pooling"] for case in cases}:
        those = [case for case in cases if case["pooling"] == pooling]
        got = vectors_of(run, [case["ids"] for case in those], pad, pooling)
        assert np.abs(got - np.array([case["vector"] for case in those], np.float32)).max() < 1e-5


def test_gelu_by_tanh(tmp_path):
    """Compared with numpy, by the exporter itself."""
    said = exports("--model", tiny("bert", tmp_path / "model", hidden_act="gelu_new"), "--output", tmp_path / "out")
    assert "compared with the weights" in said


def test_what_is_there_is_replaced_only_by_force(tmp_path):
    model, out = tiny("bert", tmp_path / "model"), tmp_path / "out"
    exports("--model", model, "--output", out)
    before = contents(out)
    assert "exists" in refuses("--model", model, "--output", out)
    assert contents(out) == before
    (out / "left over").write_text("of an older export")
    exports("--model", model, "--output", out, "--force")
    assert contents(out) == before
    shutil.rmtree(out)
    out.mkdir()
    (out / "thesis.txt").write_text("dear")
    assert "no exported model" in refuses("--model", model, "--output", out, "--force")
    assert (out / "thesis.txt").read_text() == "dear"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "out"]


@pytest.mark.parametrize(
    "spoil, said",
    [
        (lambda folder: tiny("bert", folder, model_type="distilbert"), "model_type is 'distilbert'"),
        (lambda folder: tiny("bert", folder, hidden_act="silu"), "hidden_act is 'silu'"),
        (lambda folder: tiny("bert", folder, num_hidden_layers=99), "has no tensor encoder.layer."),
        (lambda folder: (tiny("bert", folder) / "model.safetensors").write_bytes(b"weights"), "model.safetensors: "),
        (lambda folder: (tiny("bert", folder) / "model.safetensors").unlink(), "is no model"),
        (lambda folder: (tiny("bert", folder) / "modules.json").write_text("["), "modules.json: "),
    ],
)
def test_what_cannot_be_exported_leaves_nothing(spoil, said, tmp_path):
    spoil(tmp_path / "model")
    assert said in refuses("--model", tmp_path / "model", "--output", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_names(tmp_path):
    named = tiny("bert", tmp_path / "models" / "short")
    (named / "README.md").write_text("---\ntags: []\n---\n\n# someone/Tiny-Model\n")
    assert "models/short → ONNX" in exports("--model", "tiny-model", "--output", "out", cwd=tmp_path)
    assert "models/short → ONNX" in exports("--model", "short", "--output", "other", cwd=tmp_path)
    assert "no model Tiny-Other" in refuses("--model", "Tiny-Other", "--output", "third", cwd=tmp_path)


def test_a_graph_that_computes_something_else_is_not_written(tmp_path, monkeypatch):
    model = tiny("bert", tmp_path / "model")
    for difference in (0.5, float("nan")):
        monkeypatch.setattr(export_onnx, "check", lambda *_, difference=difference: difference)
        with pytest.raises(export_onnx.ExportError, match="differ by"):
            export_onnx.export(str(model), tmp_path / "out", "onnx", None, False)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_torch_is_asked_for_with_all_that_it_needs(tmp_path, monkeypatch):
    """Torch alone cannot export: it needs onnx for its own operators."""
    monkeypatch.setattr(export_onnx, "has", lambda *modules: "onnx" not in modules)
    with pytest.raises(export_onnx.ExportError, match="not installed: onnx") as raised:
        export_onnx.export(str(tiny("bert", tmp_path / "model")), tmp_path / "out", "torch", None, False)
    assert "pip install torch transformers onnx" in raised.value.hint


def test_help_and_usage():
    done = export("--help")
    assert done.returncode == 0 and "--writer" in done.stdout and "pip install" in done.stdout
    assert export("--no-such-option").returncode == 2
