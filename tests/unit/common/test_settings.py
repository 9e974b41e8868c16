from pathlib import Path

import pytest
from pydantic import Field, SecretStr, ValidationError

from veilface.common.errors import ConfigurationError, Reason
from veilface.common.settings import ServerSettings, load_settings

TLS = {
    "VEILFACE_TLS_CERTIFICATE": "/etc/veilface/tls.crt",
    "VEILFACE_TLS_PRIVATE_KEY": "/etc/veilface/tls.key",
    "VEILFACE_TLS_CA": "/etc/veilface/ca.crt",
}
COMPLETE = TLS | {"VEILFACE_LISTEN": "0.0.0.0:7001"}


class ExampleSettings(ServerSettings):
    workers: int = Field(2, ge=1, description="how many threads, at least 1")
    database_password: SecretStr = Field(SecretStr("none"), description="the password of the database")


@pytest.fixture
def environment(monkeypatch):
    def set_all(values):
        for name, value in values.items():
            monkeypatch.setenv(name, value)

    return set_all


def refusal(settings_class=ExampleSettings):
    with pytest.raises(ConfigurationError) as caught:
        load_settings(settings_class)
    assert caught.value.reason is Reason.INVALID_SETTING
    return caught.value.message


def test_a_complete_environment_is_loaded_with_documented_defaults(environment):
    environment(COMPLETE | {"VEILFACE_WORKERS": "3"})
    settings = load_settings(ExampleSettings)
    assert settings.listen == "0.0.0.0:7001"
    assert settings.tls is not None
    assert settings.tls.ca == Path("/etc/veilface/ca.crt")
    assert (settings.workers, settings.drain_timeout_s, settings.max_receive_bytes) == (3, 30.0, 20 * 2**20)
    assert settings.metrics_port is None


def test_settings_are_frozen(environment):
    environment(COMPLETE)
    settings = load_settings(ExampleSettings)
    with pytest.raises(ValidationError, match="frozen"):
        settings.workers = 5


def test_every_setting_says_what_it_is():
    undocumented = [name for name, field in ServerSettings.model_fields.items() if not field.description]
    assert undocumented == []


def test_a_missing_variable_is_named_with_what_it_should_be(environment):
    environment(TLS)
    assert refusal() == (
        "VEILFACE_LISTEN is not set; expected the address to listen on, for example 0.0.0.0:7001 or "
        "unix:/run/veilface.sock"
    )


def test_an_empty_variable_counts_as_missing(environment):
    environment(COMPLETE | {"VEILFACE_LISTEN": ""})
    assert "VEILFACE_LISTEN is not set" in refusal()


def test_every_wrong_variable_is_named_at_once_and_no_value_is_shown(environment):
    environment(COMPLETE | {"VEILFACE_WORKERS": "canary-1", "VEILFACE_DRAIN_TIMEOUT_S": "canary-2"})
    message = refusal()
    assert "VEILFACE_WORKERS is wrong" in message
    assert "how many threads, at least 1" in message
    assert "VEILFACE_DRAIN_TIMEOUT_S is wrong" in message
    assert "canary" not in message


def test_a_secret_is_not_shown_with_the_settings(environment):
    environment(COMPLETE | {"VEILFACE_DATABASE_PASSWORD": "canary"})
    settings = load_settings(ExampleSettings)
    assert settings.database_password.get_secret_value() == "canary"
    assert "canary" not in repr(settings)


@pytest.mark.parametrize("missing", TLS)
def test_a_missing_tls_file_is_named(environment, missing):
    environment({name: value for name, value in COMPLETE.items() if name != missing})
    message = refusal()
    assert f"{missing} not set" in message
    assert not any(name in message for name in TLS if name != missing)


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "[::1]:0", "localhost:7001", "unix:/run/veilface.sock"])
def test_an_insecure_server_may_listen_where_only_this_machine_can_call(environment, listen):
    environment({"VEILFACE_INSECURE": "true", "VEILFACE_LISTEN": listen})
    assert load_settings(ExampleSettings).tls is None


@pytest.mark.parametrize("listen", ["0.0.0.0:7001", "[::]:7001", "10.0.0.1:7001", "example.org:7001", ":7001"])
def test_an_insecure_server_may_not_listen_elsewhere(environment, listen):
    environment({"VEILFACE_INSECURE": "true", "VEILFACE_LISTEN": listen})
    assert "only unix: sockets and loopback addresses" in refusal()


def test_insecure_and_tls_files_exclude_each_other(environment):
    environment(COMPLETE | {"VEILFACE_LISTEN": "127.0.0.1:0", "VEILFACE_INSECURE": "true"})
    assert "leave out one or the other" in refusal()


def test_an_insecure_identity_needs_an_insecure_server(environment):
    environment(COMPLETE | {"VEILFACE_INSECURE_IDENTITY": "spiffe://veilface/client"})
    assert "VEILFACE_INSECURE_IDENTITY" in refusal()
