"""Small recognition models in the format of DeepFace's ONNX weights."""

import numpy as np
from onnx import TensorProto, helper, numpy_helper


def color_model(dimension: int) -> bytes:
    """A model that answers for DeepFace's Facenet: a fixed linear map of the mean color."""
    weights = np.random.default_rng(3).normal(size=(3, dimension)).astype(np.float32)
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["color"], axes=[1, 2], keepdims=0),
        helper.make_node("MatMul", ["color", "weights"], ["embedding"]),
    ]
    graph = helper.make_graph(
        nodes,
        "color",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 160, 160, 3])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["n", dimension])],
        [numpy_helper.from_array(weights, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return model.SerializeToString()
