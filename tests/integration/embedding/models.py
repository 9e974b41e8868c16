"""Small recognition models in the format of DeepFace's ONNX weights."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper


def color_model(dimension: int, side: int = 160) -> bytes:
    """A fixed linear map of the mean color, for images of a side of 160 pixels as FaceNet takes them, or another."""
    weights = np.random.default_rng(3).normal(size=(3, dimension)).astype(np.float32)
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["color"], axes=[1, 2], keepdims=0),
        helper.make_node("MatMul", ["color", "weights"], ["embedding"]),
    ]
    graph = helper.make_graph(
        nodes,
        "color",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", side, side, 3])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", dimension])],
        [numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return model.SerializeToString()
