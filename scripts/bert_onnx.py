"""The encoder of BERT and RoBERTa: as an ONNX graph, and in plain numpy to check that graph against.

The graph is written in opset 12, because ONNX Runtime recognises attention, layer normalisation and GELU in these very
nodes and computes each as one (its AttentionFusion knows ``Unsqueeze`` and ``Cast`` of no later opset). Any runtime of
ONNX can still run it: nothing in it is ONNX Runtime's own.

Names of weights and settings are those of Hugging Face transformers.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np

OPSET = 12
# The version of the file format that goes with opset 12 and external readers from 2020 on.
IR_VERSION = 7
FAMILIES = ("bert", "roberta", "xlm-roberta", "camembert")
ACTIVATIONS = ("gelu", "gelu_new", "gelu_fast", "gelu_pytorch_tanh", "relu")
# What ONNX Runtime's fusion looks for; exp(-10000) is 0 in float32.
MASKED = -10000.0
PREFIXES = ("", "bert.", "roberta.", "model.")


class Unsupported(Exception):
    """A model that is not of this family, or not as it should be."""


class Bert:
    """Weights and sizes of one model."""

    def __init__(self, folder: Path):
        """``folder`` holds ``config.json`` and ``model.safetensors``."""
        self.config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        family = self.config.get("model_type")
        if family not in FAMILIES:
            raise Unsupported(f"{folder / 'config.json'}: model_type is {family!r}, not one of {', '.join(FAMILIES)}")
        if self.config.get("position_embedding_type", "absolute") != "absolute":
            raise Unsupported(f"{folder / 'config.json'}: only absolute position embeddings are known")
        self.activation = self.config.get("hidden_act", "gelu")
        if self.activation not in ACTIVATIONS:
            raise Unsupported(f"{folder / 'config.json'}: hidden_act is {self.activation!r}")
        self.is_roberta = family != "bert"
        self.hidden = self.config["hidden_size"]
        self.heads = self.config["num_attention_heads"]
        self.layers = self.config["num_hidden_layers"]
        self.epsilon = self.config.get("layer_norm_eps", 1e-12)
        self.pad = self.config.get("pad_token_id", 1 if self.is_roberta else 0)
        self.path = folder / "model.safetensors"
        self.weights = self._read()

    def _read(self) -> dict[str, np.ndarray]:
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(self.path, "numpy") as file:
                names = list(file.keys())
                first = "embeddings.word_embeddings.weight"
                prefix = next((p for p in PREFIXES if p + first in names), None)
                if prefix is None:
                    raise Unsupported(f"{self.path}: has no tensor {first}")
                kept = [n for n in names if n.startswith((prefix + "embeddings.", prefix + "encoder."))]
                return {n.removeprefix(prefix): file.get_tensor(n).astype(np.float32) for n in kept if "_ids" not in n}
        except (SafetensorError, TypeError, OSError) as error:
            raise Unsupported(f"{self.path}: {error}") from error

    def weight(self, name: str) -> np.ndarray:
        try:
            return self.weights[name]
        except KeyError:
            raise Unsupported(f"{self.path}: has no tensor {name}") from None

    @property
    def inputs(self) -> list[str]:
        """RoBERTa has one token type, so nobody is asked for it."""
        return ["input_ids", "attention_mask"] + ([] if self.is_roberta else ["token_type_ids"])


class Graph:
    """Nodes and constants as they are added; every ``add`` returns the name of what it computes."""

    def __init__(self):
        self.nodes, self.constants = [], {}

    def constant(self, name: str, value: np.ndarray) -> str:
        from onnx import numpy_helper

        self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def scalar(self, value: float) -> str:
        return self.constant(f"scalar_{value:g}", np.array(value, np.float32))

    def add(self, kind: str, *inputs: str, name: str, **attributes) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, **attributes))
        return name


def layer_norm(graph: Graph, bert: Bert, x: str, name: str, output: str | None = None) -> str:
    """Over the last axis, in the nodes that runtimes fuse: opset 12 has no operator for it."""
    add = lambda kind, *inputs, step, **attributes: graph.add(kind, *inputs, name=f"{name}/{step}", **attributes)
    mean = add("ReduceMean", x, step="mean", axes=[-1], keepdims=1)
    centred = add("Sub", x, mean, step="centred")
    squares = add("Pow", centred, graph.scalar(2.0), step="squares")
    variance = add("ReduceMean", squares, step="variance", axes=[-1], keepdims=1)
    shifted = add("Add", variance, graph.constant("epsilon", np.array(bert.epsilon, np.float32)), step="shifted")
    scaled = add("Div", centred, add("Sqrt", shifted, step="deviation"), step="scaled")
    weight = graph.constant(f"{name}.weight", bert.weight(f"{name}.weight"))
    bias = graph.constant(f"{name}.bias", bert.weight(f"{name}.bias"))
    return graph.add("Add", add("Mul", scaled, weight, step="weighted"), bias, name=output or f"{name}/out")


def linear(graph: Graph, bert: Bert, x: str, name: str) -> str:
    weight = graph.constant(f"{name}.weight", bert.weight(f"{name}.weight").T)
    bias = graph.constant(f"{name}.bias", bert.weight(f"{name}.bias"))
    return graph.add("Add", graph.add("MatMul", x, weight, name=f"{name}/product"), bias, name=f"{name}/out")


def embeddings(graph: Graph, bert: Bert) -> str:
    name = "embeddings"
    table = lambda which: graph.constant(f"{name}.{which}.weight", bert.weight(f"{name}.{which}.weight"))
    words = graph.add("Gather", table("word_embeddings"), "input_ids", name=f"{name}/words")
    if bert.is_roberta:
        # As transformers does: positions count the tokens that are no padding, from the padding's id on.
        pad = graph.constant("pad", np.array(bert.pad, np.int64))
        padding = graph.add("Equal", "input_ids", pad, name=f"{name}/is_padding")
        real = graph.add("Cast", graph.add("Not", padding, name=f"{name}/is_real"), name=f"{name}/real", to=7)
        count = graph.add("CumSum", real, graph.constant("axis_1", np.array(1, np.int64)), name=f"{name}/count")
        count = graph.add("Mul", count, real, name=f"{name}/masked_count")
        position = graph.add("Add", count, pad, name=f"{name}/position")
        positions = graph.add("Gather", table("position_embeddings"), position, name=f"{name}/positions")
        types = graph.constant(f"{name}.type", bert.weight(f"{name}.token_type_embeddings.weight")[0])
    else:
        ends = [graph.constant(f"at_{i}", np.array([i], np.int64)) for i in (0, 1, 2)]
        shape = graph.add("Shape", "input_ids", name=f"{name}/shape")
        length = graph.add("Slice", shape, ends[1], ends[2], name=f"{name}/length")
        table_of_positions = table("position_embeddings")
        positions = graph.add("Slice", table_of_positions, ends[0], length, ends[0], name=f"{name}/positions")
        types = graph.add("Gather", table("token_type_embeddings"), "token_type_ids", name=f"{name}/types")
    total = graph.add("Add", graph.add("Add", words, types, name=f"{name}/typed"), positions, name=f"{name}/sum")
    return layer_norm(graph, bert, total, f"{name}.LayerNorm")


def attention(graph: Graph, bert: Bert, x: str, mask: str, name: str) -> str:
    size = bert.hidden // bert.heads
    by_head = graph.constant("shape_by_head", np.array([0, 0, bert.heads, size], np.int64))
    joined = graph.constant("shape_joined", np.array([0, 0, bert.hidden], np.int64))

    def part(which: str, perm: list[int]) -> str:
        split = graph.add("Reshape", linear(graph, bert, x, f"{name}.{which}"), by_head, name=f"{name}.{which}/heads")
        return graph.add("Transpose", split, name=f"{name}.{which}/by_head", perm=perm)

    query, key, value = part("query", [0, 2, 1, 3]), part("key", [0, 2, 3, 1]), part("value", [0, 2, 1, 3])
    scores = graph.add("MatMul", query, key, name=f"{name}/products")
    scores = graph.add(
        "Div", scores, graph.constant("sqrt_size", np.array(math.sqrt(size), np.float32)), name=f"{name}/scores"
    )
    masked = graph.add("Add", scores, mask, name=f"{name}/masked")
    shares = graph.add("Softmax", masked, name=f"{name}/shares", axis=3)
    mixed = graph.add("MatMul", shares, value, name=f"{name}/mixed")
    mixed = graph.add("Transpose", mixed, name=f"{name}/by_token", perm=[0, 2, 1, 3])
    return graph.add("Reshape", mixed, joined, name=f"{name}/out")


def activate(graph: Graph, bert: Bert, x: str, name: str) -> str:
    if bert.activation == "relu":
        return graph.add("Relu", x, name=f"{name}/relu")
    add = lambda kind, *inputs, step: graph.add(kind, *inputs, name=f"{name}/{step}")
    if bert.activation == "gelu":
        inner = add(
            "Erf",
            add("Div", x, graph.constant("sqrt_2", np.array(math.sqrt(2), np.float32)), step="scaled"),
            step="erf",
        )
        return add(
            "Mul",
            add("Mul", x, add("Add", inner, graph.scalar(1.0), step="shifted"), step="gated"),
            graph.scalar(0.5),
            step="gelu",
        )
    cube = add("Pow", x, graph.scalar(3.0), step="cube")
    sum = add("Add", x, add("Mul", cube, graph.scalar(0.044715), step="small"), step="sum")
    inner = add(
        "Tanh",
        add("Mul", sum, graph.constant("sqrt_2_by_pi", np.array(math.sqrt(2 / math.pi), np.float32)), step="scaled"),
        step="tanh",
    )
    half = add("Mul", x, graph.scalar(0.5), step="half")
    return add("Mul", half, add("Add", inner, graph.scalar(1.0), step="shifted"), step="gelu")


def build(bert: Bert):
    """The model: int64 ``[batch, sequence]`` in, ``last_hidden_state`` float32 ``[batch, sequence, hidden]`` out."""
    from onnx import TensorProto, helper

    graph = Graph()
    x = embeddings(graph, bert)
    mask = graph.add("Unsqueeze", "attention_mask", name="mask/rows", axes=[1])
    mask = graph.add("Cast", graph.add("Unsqueeze", mask, name="mask/heads", axes=[2]), name="mask/float", to=1)
    mask = graph.add("Sub", graph.scalar(1.0), mask, name="mask/masked")
    mask = graph.add("Mul", mask, graph.scalar(MASKED), name="mask/out")
    for layer in range(bert.layers):
        name = f"encoder.layer.{layer}"
        mixed = attention(graph, bert, x, mask, f"{name}.attention.self")
        mixed = linear(graph, bert, mixed, f"{name}.attention.output.dense")
        mixed = graph.add("Add", mixed, x, name=f"{name}.attention.output/sum")
        x = layer_norm(graph, bert, mixed, f"{name}.attention.output.LayerNorm")
        wide = linear(graph, bert, x, f"{name}.intermediate.dense")
        back = linear(graph, bert, activate(graph, bert, wide, f"{name}.intermediate"), f"{name}.output.dense")
        back = graph.add("Add", back, x, name=f"{name}.output/sum")
        last = "last_hidden_state" if layer == bert.layers - 1 else None
        x = layer_norm(graph, bert, back, f"{name}.output.LayerNorm", last)
    axes = ["batch", "sequence"]
    inputs = [helper.make_tensor_value_info(name, TensorProto.INT64, axes) for name in bert.inputs]
    output = helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, [*axes, bert.hidden])
    made = helper.make_graph(graph.nodes, "encoder", inputs, [output], list(graph.constants.values()))
    opset = helper.make_opsetid("", OPSET)
    return helper.make_model(made, producer_name="embstore", opset_imports=[opset], ir_version=IR_VERSION)


def reference(bert: Bert, feed: dict[str, np.ndarray]) -> np.ndarray:
    """``last_hidden_state`` by plain numpy in float64; slow, and nothing in it is shared with the graph."""
    ids, mask = feed["input_ids"], feed["attention_mask"]
    types = feed.get("token_type_ids", np.zeros_like(ids))
    weight = lambda name: bert.weight(name).astype(np.float64)
    dense = lambda x, name: x @ weight(f"{name}.weight").T + weight(f"{name}.bias")
    erf = np.vectorize(math.erf)

    def norm(x, name):
        x = x - x.mean(-1, keepdims=True)
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + bert.epsilon) * weight(f"{name}.weight") + weight(
            f"{name}.bias"
        )

    def activated(x):
        if bert.activation == "relu":
            return np.maximum(x, 0)
        if bert.activation == "gelu":
            return x * (1 + erf(x / math.sqrt(2))) / 2
        return x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2

    real = (ids != bert.pad).astype(np.int64)
    positions = np.cumsum(real, 1) * real + bert.pad if bert.is_roberta else np.arange(ids.shape[1])[None]
    x = weight("embeddings.word_embeddings.weight")[ids] + weight("embeddings.position_embeddings.weight")[positions]
    x = norm(x + weight("embeddings.token_type_embeddings.weight")[types], "embeddings.LayerNorm")
    split = lambda x: x.reshape(*ids.shape, bert.heads, -1).swapaxes(1, 2)
    for layer in range(bert.layers):
        name = f"encoder.layer.{layer}"
        query, key, value = (split(dense(x, f"{name}.attention.self.{which}")) for which in ("query", "key", "value"))
        scores = query @ key.swapaxes(-1, -2) / math.sqrt(bert.hidden // bert.heads)
        scores = np.where(mask[:, None, None, :] == 1, scores, -np.inf)
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = (shares / shares.sum(-1, keepdims=True) @ value).swapaxes(1, 2).reshape(x.shape)
        x = norm(dense(mixed, f"{name}.attention.output.dense") + x, f"{name}.attention.output.LayerNorm")
        wide = activated(dense(x, f"{name}.intermediate.dense"))
        x = norm(dense(wide, f"{name}.output.dense") + x, f"{name}.output.LayerNorm")
    return x
