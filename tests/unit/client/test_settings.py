import json
from pathlib import Path

import pytest

from veilface.client import ClientSettings
from veilface.client.settings import CONNECTION_FILE
from veilface.common.errors import ConfigurationError

DOCUMENT = {
    "embedding_service": "127.0.0.1:1",
    "key_service": "127.0.0.1:2",
    "matching_service": "127.0.0.1:3",
    "certificates": "certificates",
}


def test_a_state_folder_names_services_and_certificates(tmp_path: Path) -> None:
    (tmp_path / CONNECTION_FILE).write_text(json.dumps(DOCUMENT))
    settings = ClientSettings.from_state(tmp_path, "operator")
    assert (settings.embedding_service, settings.key_service, settings.matching_service) == (
        "127.0.0.1:1",
        "127.0.0.1:2",
        "127.0.0.1:3",
    )
    assert settings.tls is not None
    assert settings.tls.certificate == tmp_path / "certificates" / "operator.crt"


def test_the_environment_does_not_weaken_a_state_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / CONNECTION_FILE).write_text(json.dumps(DOCUMENT))
    monkeypatch.setenv("VEILFACE_INSECURE", "true")
    monkeypatch.setenv("VEILFACE_KEY_SERVICE", "127.0.0.1:9")
    settings = ClientSettings.from_state(tmp_path)
    assert not settings.insecure
    assert settings.key_service == "127.0.0.1:2"


def test_a_folder_without_a_stack_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="veilface up"):
        ClientSettings.from_state(tmp_path)


@pytest.mark.parametrize("content", ["", "not JSON", "[]", json.dumps(DOCUMENT | {"key_service": ""}), "{}"])
def test_a_broken_connection_file_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / CONNECTION_FILE).write_text(content)
    with pytest.raises(ConfigurationError):
        ClientSettings.from_state(tmp_path)
