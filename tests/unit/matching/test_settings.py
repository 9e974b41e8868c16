import pytest

from veilface.common.errors import ConfigurationError
from veilface.common.settings import load_settings
from veilface.matching.access import DEFAULT_ACCESS
from veilface.matching.redis_client import connect_redis
from veilface.matching.settings import MatchingSettings
from veilface.matching.v1 import gallery_service_pb2, matching_service_pb2, peer_service_pb2

NEEDED = {
    "VEILFACE_LISTEN": "127.0.0.1:0",
    "VEILFACE_INSECURE": "true",
    "VEILFACE_DATABASE_URL": "sqlite:////tmp/matching.db",
    "VEILFACE_TRUST_STORE": "/etc/veilface/trust.json",
    "VEILFACE_SIGNING_KEY": "/etc/veilface/matching.pem",
    "VEILFACE_KEY_SERVICE": "127.0.0.1:7002",
}


@pytest.fixture
def environment(monkeypatch):
    for name, value in NEEDED.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_what_is_needed_is_enough(environment):
    settings = load_settings(MatchingSettings)
    assert settings.redis_url is None
    assert settings.ticket_lifetime_s == 120
    assert settings.workers >= 2


@pytest.mark.parametrize("name", sorted(set(NEEDED) - {"VEILFACE_INSECURE"}))
def test_what_is_needed_is_asked_for_by_name(environment, name):
    environment.delenv(name)
    with pytest.raises(ConfigurationError, match=name):
        load_settings(MatchingSettings)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("VEILFACE_SEGMENT_MEMORY_BYTES", "1000"),
        ("VEILFACE_SEARCH_MEMORY_BYTES", "1000"),
        ("VEILFACE_WAITING_SEARCHES", "-1"),
        ("VEILFACE_TICKET_LIFETIME_S", "0"),
        ("VEILFACE_REDIS_CERTIFICATE", "/etc/redis.pem"),
        ("VEILFACE_CACHE_TTL_S", "-1"),
        ("VEILFACE_PEERS", "127.0.0.1:7003,127.0.0.1:7004"),
        ("VEILFACE_FAN_OUT_SEGMENTS", "1"),
    ],
)
def test_a_wrong_setting_is_named(environment, name, value):
    load_settings(MatchingSettings)
    environment.setenv(name, value)
    with pytest.raises(ConfigurationError, match=name):
        load_settings(MatchingSettings)


def test_passwords_in_urls_are_not_shown(environment):
    environment.setenv("VEILFACE_REDIS_URL", "rediss://matching:canary@redis:6379/0")
    environment.setenv("VEILFACE_DATABASE_URL", "postgresql://matching:canary@db/veilface")
    assert "canary" not in repr(load_settings(MatchingSettings))


@pytest.mark.parametrize(
    "url", ["unix:///run/redis.sock", "redis://127.0.0.1:6379", "rediss://user:secret@redis:6379/1"]
)
def test_a_redis_url_is_a_socket_or_an_address(environment, url):
    connect_redis(url, load_settings(MatchingSettings)).close()


def test_another_url_is_no_redis(environment):
    with pytest.raises(ConfigurationError, match="VEILFACE_REDIS_URL"):
        connect_redis("http://127.0.0.1", load_settings(MatchingSettings))


def test_every_method_has_a_rule_of_its_own():
    methods = {
        f"/{service.full_name}/{method.name}"
        for descriptor in (gallery_service_pb2.DESCRIPTOR, matching_service_pb2.DESCRIPTOR, peer_service_pb2.DESCRIPTOR)
        for service in descriptor.services_by_name.values()
        for method in service.methods
    }
    assert set(DEFAULT_ACCESS) == methods
