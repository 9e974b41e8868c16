from pathlib import Path

import pytest

from veilface.common.errors import ConfigurationError
from veilface.common.settings import load_settings
from veilface.keys.domain.master_key import CommandSource, EnvironmentSource, FileSource, ProviderSource
from veilface.keys.settings import KeysSettings

REQUIRED = {
    "VEILFACE_LISTEN": "unix:/run/veilface/keys.sock",
    "VEILFACE_INSECURE": "true",
    "VEILFACE_DATABASE_URL": "postgresql+psycopg://keys:hunter2@db/keys",
    "VEILFACE_AUDIT_FILE": "/var/lib/veilface/audit.jsonl",
    "VEILFACE_TRUST_STORE": "/etc/veilface/trust.json",
}


@pytest.fixture(autouse=True)
def _required(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in REQUIRED.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("missing", ["VEILFACE_DATABASE_URL", "VEILFACE_AUDIT_FILE", "VEILFACE_TRUST_STORE"])
def test_what_has_no_default_is_asked_for_by_name(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    monkeypatch.delenv(missing)
    with pytest.raises(ConfigurationError, match=missing):
        load_settings(KeysSettings)


def test_each_source_of_the_master_key_can_be_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(load_settings(KeysSettings).master_key_source, EnvironmentSource)
    monkeypatch.setenv("VEILFACE_MASTER_KEY_FILE", "/run/secrets/master")
    assert load_settings(KeysSettings).master_key_source == FileSource(Path("/run/secrets/master"))
    monkeypatch.delenv("VEILFACE_MASTER_KEY_FILE")
    monkeypatch.setenv("VEILFACE_MASTER_KEY_COMMAND", "secret-store read 'the master key'")
    source = load_settings(KeysSettings).master_key_source
    assert source == CommandSource(("secret-store", "read", "the master key"))
    monkeypatch.delenv("VEILFACE_MASTER_KEY_COMMAND")
    monkeypatch.setenv("VEILFACE_MASTER_KEY_PROVIDER", "our_kms.vault:wrapper")
    assert load_settings(KeysSettings).master_key_source == ProviderSource("our_kms.vault:wrapper")


@pytest.mark.parametrize("path", ["our_kms", ":wrapper", "our_kms:", "our kms:wrapper", "our_kms:a.b"])
def test_a_provider_is_named_by_module_and_function(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.setenv("VEILFACE_MASTER_KEY_PROVIDER", path)
    with pytest.raises(ConfigurationError, match="VEILFACE_MASTER_KEY_PROVIDER"):
        load_settings(KeysSettings)


def test_the_settings_do_not_keep_the_master_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VEILFACE_MASTER_KEY", "c2VjcmV0LWNhbmFyeQ==")
    kept = load_settings(KeysSettings).master_key
    assert kept is not None
    assert kept.get_secret_value() == "given"


def test_two_sources_contradict_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VEILFACE_MASTER_KEY_FILE", "/run/secrets/master")
    monkeypatch.setenv("VEILFACE_MASTER_KEY", "c2VjcmV0LWNhbmFyeQ==")
    with pytest.raises(ConfigurationError, match="only one of") as caught:
        load_settings(KeysSettings)
    assert "c2VjcmV0" not in caught.value.message


def test_showing_the_settings_shows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VEILFACE_MASTER_KEY", "c2VjcmV0LWNhbmFyeQ==")
    shown = repr(load_settings(KeysSettings))
    assert "c2VjcmV0" not in shown
    assert "hunter2" not in shown
    assert "trust.json" in shown
