import pytest

from veilface.common.errors import ConfigurationError
from veilface.common.settings import load_settings
from veilface.matching.peers.addresses import PeerAddresses
from veilface.matching.settings import MatchingSettings

TLS = {
    "VEILFACE_LISTEN": "0.0.0.0:7003",
    "VEILFACE_TLS_CERTIFICATE": "/etc/veilface/tls.crt",
    "VEILFACE_TLS_PRIVATE_KEY": "/etc/veilface/tls.key",
    "VEILFACE_TLS_CA": "/etc/veilface/ca.crt",
    "VEILFACE_DATABASE_URL": "postgresql+psycopg://matching@db/matching",
    "VEILFACE_TRUST_STORE": "/etc/veilface/trust.json",
    "VEILFACE_SIGNING_KEY": "/etc/veilface/matching.pem",
    "VEILFACE_KEY_SERVICE": "dns:///keys:7002",
}


@pytest.fixture
def environment(monkeypatch):
    for name, value in TLS.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_a_headless_service_stands_for_all_its_addresses():
    addresses = PeerAddresses.parse("dns:///matching-peers.veilface.svc:7003")
    assert addresses.hosts == (("matching-peers.veilface.svc", 7003),)
    assert addresses.server_name == "matching-peers.veilface.svc"


async def test_a_list_of_addresses_stands_for_itself():
    addresses = PeerAddresses.parse("one.example:7003, two.example:7004,[::1]:7005")
    assert await addresses.resolve() == ("one.example:7003", "two.example:7004", "[::1]:7005")
    assert addresses.server_name is None


@pytest.mark.parametrize(
    "text",
    [
        "matching",
        "matching:",
        ":7003",
        "matching:0",
        "matching:65536",
        "matching:seven",
        "one:7003,",
        "one:7003,one:7003",
        "dns:///one:7003,two:7003",
        "dns:///",
        "unix:/run/matching.sock",
    ],
)
def test_anything_else_is_a_wrong_setting(environment, text):
    environment.setenv("VEILFACE_PEERS", "dns:///matching-peers:7003")
    assert load_settings(MatchingSettings).peer_addresses == PeerAddresses((("matching-peers", 7003),), True)
    environment.setenv("VEILFACE_PEERS", text)
    with pytest.raises(ConfigurationError, match="VEILFACE_PEERS"):
        load_settings(MatchingSettings)


def test_without_the_setting_there_are_no_peers(environment):
    assert load_settings(MatchingSettings).peer_addresses is None
