from pathlib import Path

import pytest

from veilface.common.errors import ConfigurationError, Reason
from veilface.common.settings import load_settings
from veilface.embedding.settings import EmbeddingSettings

REQUIRED = {
    "VEILFACE_LISTEN": "127.0.0.1:7001",
    "VEILFACE_INSECURE": "true",
    "VEILFACE_KEY_SERVICE": "127.0.0.1:7002",
    "VEILFACE_SIGNING_KEY": "/somewhere/embedding.pem",
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in REQUIRED.items():
        monkeypatch.setenv(name, value)


def test_the_default_pipeline_needs_no_setting() -> None:
    assert load_settings(EmbeddingSettings).embedding_pipelines == ("dlib-resnet/hog/chip",)


def test_pipelines_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VEILFACE_EMBEDDING_PIPELINES", "Facenet/yunet/deepface, dlib-resnet/hog/chip,")
    assert load_settings(EmbeddingSettings).embedding_pipelines == ("Facenet/yunet/deepface", "dlib-resnet/hog/chip")


@pytest.mark.parametrize("value", [",", "dlib-resnet", "a/b/c,a/b/c"])
def test_wrong_pipelines_are_an_error_that_names_the_setting(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("VEILFACE_EMBEDDING_PIPELINES", value)
    with pytest.raises(ConfigurationError, match="VEILFACE_EMBEDDING_PIPELINES") as raised:
        load_settings(EmbeddingSettings)
    assert raised.value.reason is Reason.INVALID_SETTING


@pytest.mark.parametrize("name", ["VEILFACE_KEY_SERVICE", "VEILFACE_SIGNING_KEY"])
def test_a_missing_setting_is_an_error_that_names_it(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delenv(name)
    with pytest.raises(ConfigurationError, match=f"{name} is not set"):
        load_settings(EmbeddingSettings)


def test_deepface_looks_below_the_home_folder_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings(EmbeddingSettings).embedding_deepface_home == Path.home()
    monkeypatch.setenv("VEILFACE_EMBEDDING_DEEPFACE_HOME", "/models")
    assert load_settings(EmbeddingSettings).embedding_deepface_home == Path("/models")


def test_nothing_is_downloaded_unless_a_setting_allows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_settings(EmbeddingSettings).embedding_downloads is False
    monkeypatch.setenv("VEILFACE_EMBEDDING_DOWNLOADS", "true")
    assert load_settings(EmbeddingSettings).embedding_downloads is True
