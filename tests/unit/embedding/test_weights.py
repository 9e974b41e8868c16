import hashlib
import json
from pathlib import Path

import pytest

from veilface.common.errors import ConfigurationError, Reason
from veilface.embedding.domain.pipeline import CheckedWeights
from veilface.embedding.models.weights import (
    FACE_LANDMARKS,
    KNOWN_WEIGHTS,
    RESNET,
    KnownWeights,
    WeightStore,
    packaged_weights_folder,
    read_pinned_weights,
)

CONTENT = b"weights"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
KNOWN = {"known.dat": KnownWeights(SHA256, len(CONTENT), "CC0-1.0", "somewhere", "ask somebody")}


@pytest.fixture
def folders(tmp_path: Path) -> list[Path]:
    first, last = tmp_path / "first", tmp_path / "last"
    first.mkdir()
    last.mkdir()
    return [first, last]


@pytest.fixture
def store(folders: list[Path]) -> WeightStore:
    return WeightStore(folders, KNOWN)


def test_a_known_file_is_found_and_checked(store: WeightStore, folders: list[Path]) -> None:
    (folders[1] / "known.dat").write_bytes(CONTENT)
    located = store.locate("known.dat")
    assert located.path == folders[1] / "known.dat"
    assert located.weights == CheckedWeights("known.dat", SHA256)


def test_the_first_folder_comes_first(store: WeightStore, folders: list[Path]) -> None:
    for folder in folders:
        (folder / "known.dat").write_bytes(CONTENT)
    assert store.locate("known.dat").path.parent == folders[0]


def test_a_missing_file_is_an_error_that_says_where_it_goes(store: WeightStore, folders: list[Path]) -> None:
    with pytest.raises(ConfigurationError) as raised:
        store.locate("known.dat")
    assert raised.value.reason is Reason.WEIGHTS_MISSING
    for part in ("known.dat", str(folders[1] / "known.dat"), "ask somebody", SHA256):
        assert part in raised.value.message


def test_a_missing_unknown_file_is_an_error_with_its_source(store: WeightStore) -> None:
    with pytest.raises(ConfigurationError, match=r"its source is https://elsewhere\.example/model\.onnx") as raised:
        store.locate("model.onnx", "https://elsewhere.example/model.onnx")
    assert raised.value.reason is Reason.WEIGHTS_MISSING


@pytest.mark.parametrize("content", [b"", b"weight", b"weights and more", b"Weights"])
def test_a_known_file_with_another_content_is_an_error(store: WeightStore, folders: list[Path], content: bytes) -> None:
    (folders[0] / "known.dat").write_bytes(content)
    with pytest.raises(ConfigurationError, match="ask somebody") as raised:
        store.locate("known.dat")
    assert raised.value.reason is Reason.WEIGHTS_CORRUPT


def test_an_unknown_file_is_hashed(store: WeightStore, folders: list[Path]) -> None:
    (folders[1] / "model.onnx").write_bytes(b"another model")
    expected = hashlib.sha256(b"another model").hexdigest()
    assert store.locate("model.onnx").weights == CheckedWeights("model.onnx", expected)


def test_an_unknown_file_with_the_digest_that_the_operator_expects_is_used(folders: list[Path]) -> None:
    (folders[1] / "model.onnx").write_bytes(CONTENT)
    store = WeightStore(folders, KNOWN, {"model.onnx": SHA256})
    assert store.locate("model.onnx").weights == CheckedWeights("model.onnx", SHA256)


def test_an_unknown_file_with_another_digest_is_refused(folders: list[Path]) -> None:
    (folders[1] / "model.onnx").write_bytes(b"another model")
    with pytest.raises(ConfigurationError, match="VEILFACE_EMBEDDING_WEIGHTS_FILE") as raised:
        WeightStore(folders, KNOWN, {"model.onnx": SHA256}).locate("model.onnx")
    assert raised.value.reason is Reason.WEIGHTS_CORRUPT


def test_a_known_file_stays_known_whatever_the_operator_expects(folders: list[Path]) -> None:
    (folders[1] / "known.dat").write_bytes(b"Weights")
    digest = hashlib.sha256(b"Weights").hexdigest()
    with pytest.raises(ConfigurationError, match="ask somebody"):
        WeightStore(folders, KNOWN, {"known.dat": digest}).locate("known.dat")


def test_digests_are_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "weights.json"
    path.write_text(json.dumps({"model.onnx": SHA256.upper()}))
    assert read_pinned_weights(path) == {"model.onnx": SHA256}


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"model.onnx": 1}', '{"model.onnx": "abc"}', f'{{"model.onnx": "{"g" * 64}"}}']
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "weights.json"
    path.write_text(content)
    with pytest.raises(ConfigurationError, match=r"weights\.json") as raised:
        read_pinned_weights(path)
    assert raised.value.reason is Reason.INVALID_SETTING


def test_a_file_in_a_subfolder_is_found(store: WeightStore, folders: list[Path]) -> None:
    (folders[1] / "buffalo_l").mkdir()
    (folders[1] / "buffalo_l" / "known.dat").write_bytes(CONTENT)
    assert store.locate("buffalo_l/known.dat").weights.filename == "known.dat"


def test_the_installed_package_carries_the_default_weights() -> None:
    folder = packaged_weights_folder()
    assert folder is not None
    located = [WeightStore([folder]).locate(name).weights for name in (RESNET, FACE_LANDMARKS)]
    assert [file.sha256 for file in located] == [KNOWN_WEIGHTS[name].sha256 for name in (RESNET, FACE_LANDMARKS)]
