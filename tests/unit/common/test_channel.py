import pytest

from veilface.common.channel import RETRIED_METHODS, open_channel, open_sync_channel, service_config
from veilface.common.errors import ConfigurationError, Reason
from veilface.common.settings import TlsSettings
from veilface.embedding.v1 import embedding_service_pb2
from veilface.keys.v1 import key_service_pb2
from veilface.matching.v1 import gallery_service_pb2, matching_service_pb2

SERVICES = {
    service.full_name: {method.name for method in service.methods}
    for file in (embedding_service_pb2, key_service_pb2, gallery_service_pb2, matching_service_pb2)
    for service in file.DESCRIPTOR.services_by_name.values()
}


def test_every_retried_method_exists():
    for service in SERVICES:
        assert set(RETRIED_METHODS[service]) <= SERVICES[service]


def test_nothing_that_uses_up_a_ticket_or_is_not_repeatable_is_retried():
    retried = {method for service in SERVICES for method in RETRIED_METHODS[service]}
    assert {method for method in retried if method.startswith(("Decide", "Create", "Delete", "Batch"))} == set()


def test_the_service_config_balances_over_all_replicas():
    assert service_config()["loadBalancingConfig"] == [{"round_robin": {}}]


@pytest.mark.parametrize("open_one", [open_channel, open_sync_channel])
@pytest.mark.parametrize("target", ["keys:7002", "dns:///keys:7002", "10.0.0.1:7002"])
async def test_a_channel_without_tls_to_another_machine_is_refused(open_one, target):
    with pytest.raises(ConfigurationError) as caught:
        open_one(target, None)
    assert caught.value.reason is Reason.INVALID_SETTING


async def test_a_channel_with_missing_files_names_the_file(tmp_path):
    tls = TlsSettings(certificate=tmp_path / "a.crt", private_key=tmp_path / "a.key", ca=tmp_path / "ca.crt")
    with pytest.raises(ConfigurationError, match=r"a\.crt"):
        open_channel("localhost:1", tls)
