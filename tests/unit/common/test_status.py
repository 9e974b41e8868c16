import grpc
import grpc.aio
import pytest
from google.rpc import error_details_pb2, status_pb2

from veilface.common.errors import (
    AlreadyExistsError,
    ConfigurationError,
    DataLossError,
    FailedPreconditionError,
    InvalidArgumentError,
    InvalidCiphertextError,
    NotFoundError,
    PermissionDeniedError,
    Reason,
    ResourceExhaustedError,
    UnauthenticatedError,
    UnavailableError,
    VeilfaceError,
)
from veilface.common.status import (
    INTERNAL_MESSAGE,
    error_from_item,
    error_from_rpc,
    item_error_from,
    status_code,
    status_from_error,
)

CODES = {
    InvalidArgumentError: grpc.StatusCode.INVALID_ARGUMENT,
    InvalidCiphertextError: grpc.StatusCode.INVALID_ARGUMENT,
    FailedPreconditionError: grpc.StatusCode.FAILED_PRECONDITION,
    NotFoundError: grpc.StatusCode.NOT_FOUND,
    AlreadyExistsError: grpc.StatusCode.ALREADY_EXISTS,
    UnauthenticatedError: grpc.StatusCode.UNAUTHENTICATED,
    PermissionDeniedError: grpc.StatusCode.PERMISSION_DENIED,
    ResourceExhaustedError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    UnavailableError: grpc.StatusCode.UNAVAILABLE,
    DataLossError: grpc.StatusCode.DATA_LOSS,
    ConfigurationError: grpc.StatusCode.INTERNAL,
    VeilfaceError: grpc.StatusCode.INTERNAL,
}


def all_error_classes(root=VeilfaceError):
    return {root}.union(*(all_error_classes(child) for child in root.__subclasses__()))


def failed_call(code, details="", metadata=()):
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(*metadata), details)


def test_every_class_of_the_tree_has_a_status():
    assert {error_class: status_code(error_class(Reason.INTERNAL, "m")) for error_class in all_error_classes()} == CODES


def test_a_status_carries_message_reason_and_domain():
    status = status_from_error(NotFoundError(Reason.KEY_NOT_FOUND, "no key of that name"))
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert (status.code, status.message) == (5, "no key of that name")
    assert (info.reason, info.domain) == ("KEY_NOT_FOUND", "veilface")


@pytest.mark.parametrize(
    "error", [ValueError("canary"), MemoryError("canary"), ConfigurationError(Reason.INVALID_SETTING, "canary")]
)
def test_the_text_of_an_unforeseen_error_is_not_told(error):
    status = status_from_error(error)
    assert status.message == INTERNAL_MESSAGE
    assert b"canary" not in status.SerializeToString()
    assert b"INTERNAL" in status.SerializeToString()
    assert "canary" not in str(item_error_from(error))


def test_a_very_long_message_is_cut_to_fit_into_a_header():
    status = status_from_error(NotFoundError(Reason.KEY_NOT_FOUND, "x" * 100_000))
    assert len(status.SerializeToString()) < 2000


def test_an_error_of_one_item_comes_back_the_same():
    error = InvalidArgumentError(Reason.NO_FACE, "no face was found")
    returned = error_from_item(item_error_from(error))
    assert (type(returned), returned.reason, returned.message) == (InvalidArgumentError, error.reason, error.message)


@pytest.mark.parametrize(
    ("code", "error_class", "reason"),
    [
        (grpc.StatusCode.UNAVAILABLE, UnavailableError, Reason.DEPENDENCY_UNAVAILABLE),
        (grpc.StatusCode.DEADLINE_EXCEEDED, UnavailableError, Reason.DEADLINE_EXCEEDED),
        (grpc.StatusCode.CANCELLED, UnavailableError, Reason.CANCELLED),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, ResourceExhaustedError, Reason.TRANSPORT),
        (grpc.StatusCode.UNIMPLEMENTED, VeilfaceError, Reason.TRANSPORT),
        (grpc.StatusCode.UNKNOWN, VeilfaceError, Reason.TRANSPORT),
    ],
)
def test_a_failure_that_no_veilface_server_explained_gets_a_reason_of_the_transport(code, error_class, reason):
    error = error_from_rpc(failed_call(code, "words"))
    assert (type(error), error.reason, error.message) == (error_class, reason, "words")


def test_an_rpc_error_that_promises_nothing_is_still_an_error():
    assert error_from_rpc(grpc.RpcError()).reason is Reason.TRANSPORT


@pytest.mark.parametrize(
    "value",
    [
        b"\xff\xff",
        status_pb2.Status(code=5).SerializeToString(),
        b"",
    ],
)
def test_details_that_are_not_veilfaces_are_ignored(value):
    call = failed_call(grpc.StatusCode.NOT_FOUND, "words", [("grpc-status-details-bin", value)])
    error = error_from_rpc(call)
    assert (type(error), error.reason) == (NotFoundError, Reason.TRANSPORT)


def test_a_reason_of_another_domain_or_of_a_newer_server_is_not_taken_for_a_known_one():
    for domain, reason in [("example.org", "NO_FACE"), ("veilface", "NOT_INVENTED_YET")]:
        status = status_pb2.Status(code=5)
        status.details.add().Pack(error_details_pb2.ErrorInfo(domain=domain, reason=reason))
        metadata = [("grpc-status-details-bin", status.SerializeToString())]
        assert error_from_rpc(failed_call(grpc.StatusCode.NOT_FOUND, "w", metadata)).reason is Reason.TRANSPORT
