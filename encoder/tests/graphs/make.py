"""Write the small graphs in this folder: what is no text encoder, and what is one in an unusual way.

    pip install onnx==1.21.0 && python encoder/tests/graphs/make.py

Each makes of a token's id ``n`` the vector ``n * [1, 2, 3, 4]``, so that means can be told by hand.
"""

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper, save

HERE = Path(__file__).parent
FREE = ["texts", "tokens"]


def graph(name, inputs, nodes, output, shape):
    """``inputs`` are names with their types and shapes."""
    weights = numpy_helper.from_array(np.array([1, 2, 3, 4], np.float32), "weights")
    nan = numpy_helper.from_array(np.array(np.nan, np.float32), "nan")
    given = [helper.make_tensor_value_info(*one) for one in inputs]
    taken = [helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)]
    used = {name for node in nodes for name in node.input}
    kept = [constant for constant in (weights, nan) if constant.name in used]
    model = helper.make_model(
        helper.make_graph(nodes, name, given, taken, kept), opset_imports=[helper.make_opsetid("", 12)], ir_version=7
    )
    save(model, HERE / f"{name}.onnx")


def vectors(ids, output):
    return [
        helper.make_node("Cast", [ids], ["float"], to=1),
        helper.make_node("Unsqueeze", ["float"], ["column"], axes=[2]),
        helper.make_node("Mul", ["column", "weights"], [output]),
    ]


def both(kind, shape=FREE):
    return [("input_ids", kind, shape), ("attention_mask", kind, shape)]


TOKENS, TEXTS = [*FREE, 4], [FREE[0], 4]
INT64, INT32 = TensorProto.INT64, TensorProto.INT32
hidden = vectors("input_ids", "last_hidden_state")

graph("int32", both(INT32), hidden, "last_hidden_state", TOKENS)
graph("no_mask", both(INT64)[:1], hidden, "last_hidden_state", TOKENS)
graph("fixed", both(INT64, [1, 128]), hidden, "last_hidden_state", [1, 128, 4])
graph("floats", both(TensorProto.FLOAT), hidden, "last_hidden_state", TOKENS)
graph(
    "image",
    [("pixel_values", TensorProto.FLOAT, [1, 3, 8, 8])],
    [helper.make_node("Identity", ["pixel_values"], ["pixels"])],
    "pixels",
    [1, 3, 8, 8],
)
graph("scores", both(INT64), vectors("input_ids", "logits"), "logits", TOKENS)
graph(
    "nan",
    both(INT64),
    [*vectors("input_ids", "all"), helper.make_node("Mul", ["all", "nan"], ["last_hidden_state"])],
    "last_hidden_state",
    TOKENS,
)
graph(
    "sentence",
    both(INT64),
    [
        *vectors("input_ids", "all"),
        helper.make_node("ReduceMax", ["all"], ["sentence_embedding"], axes=[1], keepdims=0),
    ],
    "sentence_embedding",
    TEXTS,
)
