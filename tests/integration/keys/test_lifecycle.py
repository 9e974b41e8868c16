"""The life of keys over real mutual TLS, across restarts and kills of the process."""

import base64
import secrets
import socket
import time
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask
from grpc_health.v1 import health_pb2

from veilface.common.errors import Reason
from veilface.common.process import EXIT_CONFIGURATION
from veilface.common.status import error_from_rpc
from veilface.keys.offline import main as offline
from veilface.keys.v1 import key_service_pb2 as pb
from veilface.keys.v1 import policy_pb2

TIMEOUT_S = 60
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
SERVING = health_pb2.HealthCheckResponse.SERVING


def reason_of(call: Callable[[], object]) -> Reason:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return error_from_rpc(caught.value).reason


def verify(service: Any, batches: list[Any]) -> pb.DecideVerificationResponse:
    request = pb.DecideVerificationRequest(score_batches=batches)
    response: pb.DecideVerificationResponse = service.stub("client").DecideVerification(request, timeout=TIMEOUT_S)
    return response


def update_quotas(service: Any, name: str, **quotas: int) -> pb.Key:
    key = pb.Key(name=name, policy=policy_pb2.KeyPolicy(quotas=policy_pb2.Quotas(**quotas)))
    request = pb.UpdateKeyRequest(key=key, update_mask=FieldMask(paths=["policy"]))
    updated: pb.Key = service.stub("operator").UpdateKey(request, timeout=TIMEOUT_S)
    return updated


def test_kills_and_restarts_keep_keys_decisions_nonces_quotas_and_the_audit_chain(
    service: Any, make_comparing: Any
) -> None:
    service.start()
    service.create_key("office")
    key = update_quotas(service, "keys/office", answers_per_caller=3)
    comparing = make_comparing(service, service.material("keys/office"), 5)
    spent = comparing.verification(0.97)
    assert verify(service, spent).decision == pb.DECISION_MATCH

    service.kill()
    service.start()
    assert service.stub("client").GetKey(pb.GetKeyRequest(name="keys/office"), timeout=TIMEOUT_S) == key
    assert service.material("keys/office") == comparing.material
    assert reason_of(lambda: verify(service, spent)) is Reason.TICKET_REPLAYED
    assert verify(service, comparing.verification(0.5)).decision == pb.DECISION_NO_MATCH

    assert service.stop() == 0
    service.start()
    assert verify(service, comparing.verification(0.97)).decision == pb.DECISION_MATCH
    assert reason_of(lambda: verify(service, comparing.verification(0.97))) is Reason.QUOTA_EXCEEDED
    head = service.stub("operator").GetAuditHead(pb.GetAuditHeadRequest(), timeout=TIMEOUT_S)
    assert service.stop() == 0
    arguments = ["audit-verify", "--database-url", f"sqlite:///{service.folder}/keys.db"]
    arguments += ["--head", f"{head.sequence}:{head.hash.hex()}", str(service.audit_file)]
    assert offline(arguments) == 0


def test_without_a_master_key_it_does_not_serve_until_there_is_one(service: Any) -> None:
    hidden = service.master_key.rename(service.folder / "hidden")
    service.start(wait_for_serving=False)
    service.wait_for(NOT_SERVING)
    create = lambda: service.create_key("office")  # noqa: E731
    assert reason_of(create) is Reason.NOT_READY
    deadline = time.monotonic() + TIMEOUT_S
    while "MASTER_KEY_MISSING" not in service.log:
        assert time.monotonic() < deadline, service.log
        time.sleep(0.05)
    assert '"missing": "master key"' in service.log
    hidden.rename(service.master_key)
    service.wait_for(SERVING)
    create()


def test_a_readable_master_key_file_is_not_used(service: Any) -> None:
    service.master_key.chmod(0o644)
    service.start(wait_for_serving=False)
    service.wait_for(NOT_SERVING)
    deadline = time.monotonic() + TIMEOUT_S
    while "chmod 600" not in service.log:
        assert time.monotonic() < deadline, service.log
        time.sleep(0.05)
    service.master_key.chmod(0o600)
    service.wait_for(SERVING)


def test_another_master_key_does_not_open_the_vault(service: Any) -> None:
    service.start()
    service.create_key("office")
    service.stop()
    right = service.master_key.read_bytes()
    service.master_key.write_bytes(base64.b64encode(secrets.token_bytes(32)))
    service.start(wait_for_serving=False)
    deadline = time.monotonic() + TIMEOUT_S
    while "is not the one that keys/office/versions/1 was sealed under" not in service.log:
        assert time.monotonic() < deadline, service.log
        time.sleep(0.05)
    assert service.health() == NOT_SERVING
    service.master_key.write_bytes(right)
    service.wait_for(SERVING)


@pytest.mark.parametrize("source", ["environment", "command"])
def test_the_master_key_may_come_from_the_environment_or_a_command(service: Any, source: str) -> None:
    text = service.master_key.read_text().strip()
    service.settings["VEILFACE_MASTER_KEY_FILE"] = ""
    if source == "environment":
        service.settings["VEILFACE_MASTER_KEY"] = text
    else:
        service.settings["VEILFACE_MASTER_KEY_COMMAND"] = f"cat {service.master_key}"
    service.start()
    service.create_key("office")
    assert text not in service.log


def test_versions_are_rotated_disabled_enabled_and_destroyed(service: Any, make_comparing: Any) -> None:
    service.start()
    service.create_key("office")
    operator = service.stub("operator")
    old = make_comparing(service, service.material("keys/office"), 1)
    first = "keys/office/versions/1"

    rotated = operator.RotateKey(pb.RotateKeyRequest(name="keys/office"), timeout=TIMEOUT_S)
    assert (rotated.primary_version, len(rotated.versions)) == (2, 2)
    new = make_comparing(service, service.material("keys/office"), 2)
    assert new.material.key_version == "keys/office/versions/2"
    assert verify(service, old.verification(0.97)).decision == pb.DECISION_MATCH
    assert verify(service, new.verification(0.97)).decision == pb.DECISION_MATCH

    request = pb.UpdateKeyRequest(
        key=pb.Key(name="keys/office", minimum_version=2), update_mask=FieldMask(paths=["minimum_version"])
    )
    assert operator.UpdateKey(request, timeout=TIMEOUT_S).minimum_version == 2
    assert reason_of(lambda: verify(service, old.verification(0.97))) is Reason.KEY_VERSION_TOO_OLD
    request.key.minimum_version = 1
    request.key.etag = rotated.etag
    assert reason_of(lambda: operator.UpdateKey(request, timeout=TIMEOUT_S)) is Reason.KEY_CHANGED
    request.key.etag = operator.GetKey(pb.GetKeyRequest(name="keys/office"), timeout=TIMEOUT_S).etag
    assert operator.UpdateKey(request, timeout=TIMEOUT_S).etag == rotated.etag

    disabled = operator.DisableKeyVersion(pb.DisableKeyVersionRequest(name=first), timeout=TIMEOUT_S)
    assert disabled.state == pb.KeyVersion.STATE_DISABLED
    assert reason_of(lambda: verify(service, old.verification(0.97))) is Reason.KEY_DISABLED
    assert reason_of(lambda: service.material(first)) is Reason.KEY_DISABLED
    operator.EnableKeyVersion(pb.EnableKeyVersionRequest(name=first), timeout=TIMEOUT_S)
    assert verify(service, old.verification(0.97)).decision == pb.DECISION_MATCH

    destroy = pb.DestroyKeyVersionRequest(name=first)
    scheduled = operator.DestroyKeyVersion(destroy, timeout=TIMEOUT_S)
    assert scheduled.state == pb.KeyVersion.STATE_DESTROY_SCHEDULED
    assert scheduled.destroy_time.seconds > scheduled.create_time.seconds + 23 * 3600
    restored = operator.RestoreKeyVersion(pb.RestoreKeyVersionRequest(name=first), timeout=TIMEOUT_S)
    assert restored.state == pb.KeyVersion.STATE_DISABLED

    destroy.immediately = True
    assert operator.DestroyKeyVersion(destroy, timeout=TIMEOUT_S).state == pb.KeyVersion.STATE_DESTROYED
    assert reason_of(lambda: verify(service, old.verification(0.97))) is Reason.KEY_DESTROYED
    assert verify(service, new.verification(0.97)).decision == pb.DECISION_MATCH


def test_a_scheduled_destruction_happens_by_itself_and_is_recorded(service: Any) -> None:
    service.start()
    service.create_key("office")
    operator = service.stub("operator")
    operator.RotateKey(pb.RotateKeyRequest(name="keys/office"), timeout=TIMEOUT_S)
    destroy = pb.DestroyKeyVersionRequest(name="keys/office/versions/1", delay=Duration(nanos=100_000_000))
    operator.DestroyKeyVersion(destroy, timeout=TIMEOUT_S)
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        key = operator.GetKey(pb.GetKeyRequest(name="keys/office"), timeout=TIMEOUT_S)
        if key.versions[0].state == pb.KeyVersion.STATE_DESTROYED:
            break
        assert time.monotonic() < deadline
        time.sleep(0.05)
    audit = service.audit_file.read_text()
    assert '"actor":"spiffe://veilface/keys","decision_count":0,"gallery":"","operation":"destroy-version"' in audit


def test_a_running_service_takes_up_a_new_master_key_after_resealing(service: Any, make_comparing: Any) -> None:
    service.start()
    service.create_key("office")
    comparing = make_comparing(service, service.material("keys/office"), 1)
    new = service.folder / "new.key"
    assert offline(["create-master-key", str(new)]) == 0
    arguments = ["reseal", "--database-url", f"sqlite:///{service.folder}/keys.db"]
    arguments += ["--audit-file", str(service.folder / "offline.jsonl")]
    arguments += ["--old-file", str(service.master_key), "--new-file", str(new)]
    assert offline(arguments) == 0
    service.wait_for(NOT_SERVING)
    new.rename(service.master_key)
    service.wait_for(SERVING)
    assert verify(service, comparing.verification(0.97)).decision == pb.DECISION_MATCH


def test_the_listed_audit_records_form_the_chain_that_leads_to_the_head(running: Any) -> None:
    from veilface.keys.domain.audit import StoredRecord, verify_chain

    operator = running.stub("operator")
    head = operator.GetAuditHead(pb.GetAuditHeadRequest(), timeout=TIMEOUT_S)
    records: list[StoredRecord] = []
    token = ""
    while True:
        request = pb.ListAuditRecordsRequest(page_size=2, page_token=token)
        page = operator.ListAuditRecords(request, timeout=TIMEOUT_S)
        records += [StoredRecord(each.sequence, each.record, each.hash) for each in page.records]
        token = page.next_page_token
        if not token:
            break
    verified = verify_chain(records)
    assert verified.sequence >= head.sequence >= 1
    assert records[head.sequence - 1].hash == head.hash


@pytest.mark.parametrize("token", ["-1", "x", "1e3", "9" * 40])
def test_a_made_up_page_token_is_refused(running: Any, token: str) -> None:
    request = pb.ListAuditRecordsRequest(page_token=token)
    call = running.stub("operator").ListAuditRecords
    assert reason_of(lambda: call(request, timeout=TIMEOUT_S)) is Reason.INVALID_PAGE_TOKEN


def test_keys_are_listed_in_pages(service: Any) -> None:
    service.start()
    for key_id in ("c", "a", "b"):
        service.create_key(key_id)
    operator = service.stub("operator")
    first = operator.ListKeys(pb.ListKeysRequest(page_size=2), timeout=TIMEOUT_S)
    second = operator.ListKeys(pb.ListKeysRequest(page_size=2, page_token=first.next_page_token), timeout=TIMEOUT_S)
    assert [key.name for key in (*first.keys, *second.keys)] == ["keys/a", "keys/b", "keys/c"]
    assert second.next_page_token == ""
    assert reason_of(lambda: service.create_key("a")) is Reason.KEY_EXISTS


def test_the_seed_of_a_transform_goes_to_the_embedding_service_only(service: Any) -> None:
    service.start()
    request = pb.CreateKeyRequest(key_id="office", embedding_transform=True)
    key = service.stub("operator").CreateKey(request, timeout=TIMEOUT_S)
    assert key.embedding_transform
    seed = pb.GetTransformSeedRequest(name="keys/office")
    answer = service.stub("embedding").GetTransformSeed(seed, timeout=TIMEOUT_S)
    assert (answer.key_version, len(answer.seed)) == ("keys/office/versions/1", 32)
    for other in ("client", "operator", "matching"):
        stub = service.stub(other)
        assert reason_of(lambda stub=stub: stub.GetTransformSeed(seed, timeout=TIMEOUT_S)) is Reason.IDENTITY_DENIED
    assert answer.seed.hex() not in service.log


def test_a_taken_port_is_one_plain_line_and_exit_code_78(service: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        service.settings = {"VEILFACE_LISTEN": address}
        service.start(wait_for_serving=False)
        assert service.wait_for_exit() == EXIT_CONFIGURATION
    assert address in service.log
    assert "Traceback" not in service.log
