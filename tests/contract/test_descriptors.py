"""No field of any message can carry a secret key, an embedding or a raw score."""

from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import FileDescriptor

from tests.contract.fields import can_carry_raw_values, has_telling_name, project_files

PROTOS = Path(__file__).resolve().parents[2] / "protos"

# A new field belongs here only with a reason why it cannot carry what must not travel.
RAW_VALUES = {
    "veilface.embedding.v1.ExtractTemplatesRequest.image": "the caller's own photograph, to who that may see it",
    "veilface.embedding.v1.Face.detection_confidence": "how sure the detector is; says nothing about identity",
    "veilface.embedding.v1.Landmark.x": "a place in the caller's own image",
    "veilface.embedding.v1.Landmark.y": "a place in the caller's own image",
    "veilface.embedding.v1.Quality.exposure": "a measure of the image, not of the person",
    "veilface.embedding.v1.Quality.frontality": "a measure of the image, not of the person",
    "veilface.embedding.v1.Quality.overall": "a measure of the image, not of the person",
    "veilface.embedding.v1.Quality.resolution": "a measure of the image, not of the person",
    "veilface.embedding.v1.Quality.sharpness": "a measure of the image, not of the person",
    "veilface.keys.v1.AuditHead.hash": "a digest of the audit log",
    "veilface.keys.v1.AuditRecord.hash": "a digest of the audit log",
    "veilface.keys.v1.GetTransformSeedResponse.seed": "released to the embedding identity only; decrypts nothing",
    "veilface.keys.v1.KeyVersion.evaluation_keys_sha256": "a digest of public material",
    "veilface.keys.v1.KeyVersion.public_key_sha256": "a digest of public material",
    "veilface.keys.v1.SegmentDescription.slots": "places in a segment",
    "veilface.keys.v1.ThresholdOverride.threshold": "a setting made by the operator",
    "veilface.matching.v1.ImportSegmentRequest.data": "a segment, encrypted",
    "veilface.matching.v1.SearchSegmentsRequest.nonce": "random",
    "veilface.matching.v1.SearchSegmentsResponse.changed_segments": "numbers of segments",
    "veilface.matching.v1.SegmentImportHeader.statement": "a SegmentStatement, whose own fields are walked",
    "veilface.matching.v1.SegmentRevision.content_sha256": "a digest",
    "veilface.types.v1.Chunk.data": "public and evaluation keys, and encrypted segments",
    "veilface.types.v1.Chunk.sha256": "a digest",
    "veilface.types.v1.ScoreBatch.ciphertext": "scores, encrypted",
    "veilface.types.v1.ScoreBatch.statement": "a ScoreStatement, whose own fields are walked",
    "veilface.types.v1.ScoreStatement.ciphertext_sha256": "a digest",
    "veilface.types.v1.ScoreStatement.nonce": "random",
    "veilface.types.v1.ScoreStatement.probe_sha256": "a digest of a ciphertext",
    "veilface.types.v1.SegmentStatement.segment_sha256": "a digest of a ciphertext",
    "veilface.types.v1.SegmentStatement.subject_ids_sha256": "a digest of names that are stored in the clear",
    "veilface.types.v1.ScoreStatement.reference_sha256": "a digest of a ciphertext",
    "veilface.types.v1.Signature.key_id": "names a public key",
    "veilface.types.v1.Signature.value": "a signature",
    "veilface.types.v1.Template.ciphertext": "an embedding, encrypted unless the key's policy allows a plaintext probe",
    "veilface.types.v1.Template.statement": "a TemplateStatement, whose own fields are walked",
    "veilface.types.v1.TemplateStatement.ciphertext_sha256": "a digest",
}
TELLING_NAMES = {
    "veilface.keys.v1.CreateKeyRequest.embedding_transform": "yes or no",
    "veilface.keys.v1.Key.embedding_transform": "yes or no",
    "veilface.keys.v1.Candidate.score_index": "the position of a score, not the score",
    "veilface.keys.v1.DecideIdentificationResponse.score_count": "how many scores there were",
    "veilface.keys.v1.KeyMaterialInfo.embedding_transform": "yes or no",
    "veilface.keys.v1.KeyMaterialInfo.plaintext_probe_allowed": "yes or no",
    "veilface.keys.v1.KeyPolicy.plaintext_probe_allowed": "yes or no",
    "veilface.types.v1.ScoreStatement.score_count": "how many scores there are",
}


@pytest.fixture(scope="module")
def files() -> list[FileDescriptor]:
    return project_files()


def test_the_walk_reaches_every_proto(files: list[FileDescriptor]) -> None:
    protos = {str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto")}
    assert {file.name for file in files} == protos


def test_only_listed_fields_hold_bytes_or_numbers(files: list[FileDescriptor]) -> None:
    assert can_carry_raw_values(files) == set(RAW_VALUES)


def test_only_listed_fields_are_named_like_what_must_not_travel(files: list[FileDescriptor]) -> None:
    assert has_telling_name(files) == set(TELLING_NAMES)


def test_the_walk_finds_what_it_looks_for() -> None:
    leaky = [_leaky_file()]
    assert can_carry_raw_values(leaky) == {
        "leaky.Answer.embedding",
        "leaky.Answer.key",
        "leaky.Answer.Inner.quantized",
        "leaky.Answer.RankedEntry.value",
    }
    assert has_telling_name(leaky) == {"leaky.Answer.embedding", "leaky.Answer.best_score", "leaky.Answer.secret_key"}


def _leaky_file() -> FileDescriptor:
    kinds = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="leaky.proto", package="leaky", syntax="proto3")
    answer = file.message_type.add(name="Answer")
    answer.field.add(name="embedding", number=1, type=kinds.TYPE_FLOAT, label=kinds.LABEL_REPEATED)
    answer.field.add(name="key", number=2, type=kinds.TYPE_BYTES, label=kinds.LABEL_OPTIONAL)
    answer.field.add(name="best_score", number=3, type=kinds.TYPE_INT64, label=kinds.LABEL_OPTIONAL)
    answer.field.add(name="secret_key", number=4, type=kinds.TYPE_STRING, label=kinds.LABEL_OPTIONAL)
    answer.field.add(name="count", number=5, type=kinds.TYPE_UINT32, label=kinds.LABEL_OPTIONAL)
    inner = answer.nested_type.add(name="Inner")
    inner.field.add(name="quantized", number=1, type=kinds.TYPE_SINT32, label=kinds.LABEL_REPEATED)
    ranked = answer.nested_type.add(name="RankedEntry")
    ranked.options.map_entry = True
    ranked.field.add(name="key", number=1, type=kinds.TYPE_STRING, label=kinds.LABEL_OPTIONAL)
    ranked.field.add(name="value", number=2, type=kinds.TYPE_DOUBLE, label=kinds.LABEL_OPTIONAL)
    answer.field.add(
        name="ranked",
        number=6,
        type=kinds.TYPE_MESSAGE,
        type_name=".leaky.Answer.RankedEntry",
        label=kinds.LABEL_REPEATED,
    )
    pool = descriptor_pool.DescriptorPool()
    return pool.AddSerializedFile(file.SerializeToString())
