import pytest

from veilface.client.steps import Payload, PayloadKind, payloads_of
from veilface.embedding.v1 import embedding_service_pb2
from veilface.keys.v1 import key_service_pb2
from veilface.matching.v1 import matching_service_pb2
from veilface.types.v1 import score_pb2, template_pb2


def test_an_image_is_counted_but_never_quoted() -> None:
    request = embedding_service_pb2.ExtractTemplatesRequest(image=b"\xff\xd8" * 500, key="keys/default")
    assert payloads_of([request]) == (Payload(PayloadKind.IMAGE, 1, 1000, ""),)


def test_ciphertexts_are_summed_up_and_the_middle_of_the_first_is_quoted() -> None:
    ciphertext = bytes(82) + bytes(range(1, 9)) + bytes(82)
    other = b"\xff" * 172
    request = key_service_pb2.DecideVerificationRequest(
        score_batches=[score_pb2.ScoreBatch(ciphertext=each, statement=b"ticket") for each in (ciphertext, other)]
    )
    assert payloads_of([request]) == (Payload(PayloadKind.SCORES, 2, 344, "0102030405060708"),)


def test_payloads_are_found_however_deep_they_are() -> None:
    face = embedding_service_pb2.Face(template=template_pb2.Template(ciphertext=b"short"))
    response = embedding_service_pb2.BatchExtractTemplatesResponse(
        response=embedding_service_pb2.ExtractTemplatesResponse(faces=[face, face])
    )
    assert payloads_of([response]) == (Payload(PayloadKind.TEMPLATE, 2, 10, b"short".hex()),)


@pytest.mark.parametrize(
    "statement",
    [
        template_pb2.TemplateStatement(use=template_pb2.TEMPLATE_USE_PLAINTEXT_PROBE).SerializeToString(),
        b"\xff\xff\xff not a statement",
    ],
    ids=["vouched for as plaintext", "not vouched for"],
)
def test_a_probe_in_the_clear_is_called_so_and_never_quoted(statement: bytes) -> None:
    probe = template_pb2.Template(statement=statement, ciphertext=bytes(range(100)))
    request = matching_service_pb2.CompareTemplatesRequest(probe=probe)
    assert payloads_of([request]) == (Payload(PayloadKind.PLAINTEXT_PROBE, 1, 100, ""),)


def test_a_message_without_payloads_has_none() -> None:
    assert payloads_of([key_service_pb2.GetKeyRequest(name="keys/default")]) == ()
