"""Templates and segments moved to another key version score exactly as before, and only under the new version."""

import secrets

import numpy as np
import pytest

from tests.unit.crypto.phe.conftest import Party, make_party
from tests.unit.crypto.phe.faces import embeddings, integer_scores
from veilface.common.errors import InvalidArgumentError, InvalidCiphertextError, Reason
from veilface.crypto.contract import Metric, Scheme, TemplateSpace, TemplateUse
from veilface.crypto.public.phe import wire
from veilface.crypto.public.phe.bulk import PheSegmentEncryptor
from veilface.crypto.public.phe.profiles import PROFILES
from veilface.crypto.public.phe.quantization import quantize
from veilface.crypto.renewal import OrthogonalTransform
from veilface.crypto.secret.phe.private_key import parse_private_key
from veilface.crypto.secret.phe.reencrypt import PheReencrypter

FACES = embeddings(5, 60, seed=51)
PROBE = embeddings(1, 60, seed=52)[0]


@pytest.fixture(scope="session")
def next_versions(parties: dict[Scheme, Party]) -> dict[Scheme, Party]:
    return {scheme: make_party(parties[scheme].key.profile) for scheme in PROFILES}


@pytest.fixture
def target(party: Party, next_versions: dict[Scheme, Party]) -> Party:
    return next_versions[party.key.profile.scheme]


def reencrypter(source: Party, target: Party, seeds: tuple[bytes, bytes] | None = None) -> PheReencrypter:
    own = parse_private_key(source.generated.secret_key, source.key.profile)
    return PheReencrypter(own, target.encryptor, seeds)


def compared(party: Party, template: bytes, query: bytes, space: TemplateSpace) -> list[int]:
    return party.decrypter.decrypt_integers(party.comparer.compare(template, query, space), space, 1)


@pytest.mark.parametrize("metric", list(Metric))
def test_a_template_and_a_probe_keep_their_score(party: Party, target: Party, metric: Metric) -> None:
    space = TemplateSpace(60, metric)
    template = party.encryptor.encrypt(FACES[0], space, TemplateUse.REFERENCE)
    query = party.encryptor.encrypt(PROBE, space, TemplateUse.PLAINTEXT_PROBE)
    move = reencrypter(party, target)

    moved = move.reencrypt_template(template, space, TemplateUse.REFERENCE)
    moved_query = move.reencrypt_template(query, space, TemplateUse.PLAINTEXT_PROBE)

    assert compared(target, moved, moved_query, space) == compared(party, template, query, space)
    with pytest.raises(InvalidCiphertextError) as refused:
        compared(party, moved, query, space)
    assert refused.value.reason is Reason.WRONG_KEY_VERSION


@pytest.mark.parametrize("metric", list(Metric))
def test_a_segment_keeps_the_scores_of_the_slots_that_are_kept(party: Party, target: Party, metric: Metric) -> None:
    space = TemplateSpace(60, metric)
    segment = PheSegmentEncryptor(party.encryptor).encrypt(FACES, space)
    kept = np.array([1, 3, 4])

    moved = reencrypter(party, target).reencrypt_segment(segment, space, kept)

    query = target.encryptor.encrypt(PROBE, space, TemplateUse.PLAINTEXT_PROBE)
    prepared = target.comparer.prepare_probe(query, space)
    (response,) = target.comparer.search(prepared, [target.comparer.segment_from_bytes(moved, space)], [np.arange(3)])
    assert target.decrypter.decrypt_integers(response, space, 3) == integer_scores(FACES[kept], PROBE, space)


def test_renewal_changes_the_template_and_no_score(party: Party, target: Party) -> None:
    space = TemplateSpace(60)
    seeds = (secrets.token_bytes(32), secrets.token_bytes(32))
    before, after = (OrthogonalTransform(seed, 60) for seed in seeds)
    template = party.encryptor.encrypt(before.apply(FACES[0]), space, TemplateUse.REFERENCE)
    query = target.encryptor.encrypt(after.apply(PROBE), space, TemplateUse.PLAINTEXT_PROBE)

    moved = reencrypter(party, target, seeds).reencrypt_template(template, space, TemplateUse.REFERENCE)

    score = target.comparer.compare(moved, query, space)
    assert target.decrypter.decrypt(score, space, 1)[0] == pytest.approx(FACES[0] @ PROBE, abs=3e-3)


def test_bulk_encryption_equals_adding_one_by_one(party: Party) -> None:
    space = TemplateSpace(60)
    segment = party.comparer.segment_from_bytes(PheSegmentEncryptor(party.encryptor).encrypt(FACES, space), space)
    prepared = party.comparer.prepare_probe(party.encryptor.encrypt(PROBE, space, TemplateUse.PLAINTEXT_PROBE), space)
    ((response,),) = party.comparer.search_many([prepared], [segment], [np.arange(5)])
    assert party.decrypter.decrypt_integers(response, space, 5) == integer_scores(FACES, PROBE, space)


def test_a_segment_takes_no_more_embeddings_than_it_has_slots(paillier: Party) -> None:
    bulk = PheSegmentEncryptor(paillier.encryptor)
    space = TemplateSpace(3)
    too_many = embeddings(bulk.capacity(space) + 1, 3, seed=53)
    with pytest.raises(InvalidArgumentError) as refused:
        bulk.encrypt(too_many, space)
    assert refused.value.reason is Reason.WRONG_DIMENSION
    assert bulk.encrypt(too_many[1:], space)


def test_an_empty_slot_is_not_moved(party: Party, target: Party) -> None:
    space = TemplateSpace(60)
    segment = PheSegmentEncryptor(party.encryptor).encrypt(FACES[:2], space)
    with pytest.raises(InvalidCiphertextError) as refused:
        reencrypter(party, target).reencrypt_segment(segment, space, np.array([0, 2]))
    assert refused.value.reason is Reason.INVALID_FIELD


@pytest.mark.parametrize("with_seeds", [False, True])
def test_what_decrypts_to_no_embedding_is_replaced_by_a_direction_that_nobody_knows(
    party: Party, target: Party, with_seeds: bool
) -> None:
    space = TemplateSpace(64)
    seeds = (secrets.token_bytes(32), secrets.token_bytes(32)) if with_seeds else None
    move = reencrypter(party, target, seeds)
    honest = party.encryptor.encrypt(embeddings(1, 64, seed=54)[0], space, TemplateUse.REFERENCE)
    moved = move.reencrypt_template(honest, space, TemplateUse.REFERENCE)
    assert move.replaced_count == 0

    forged = wire.write_reference(party.key, space, party.encryptor.encrypt_integers([2000] * 64))
    replaced = move.reencrypt_template(forged, space, TemplateUse.REFERENCE)
    assert (len(replaced), move.replaced_count) == (len(moved), 1)
    own = target.encryptor.encrypt(np.full(64, 0.125), space, TemplateUse.PLAINTEXT_PROBE)
    # 64 random signs and sizes agree with a constant vector by 0.9 once in 10^23.
    assert abs(target.decrypter.decrypt(target.comparer.compare(replaced, own, space), space, 1)[0]) < 0.9


def test_an_implausible_slot_is_replaced_and_its_neighbors_are_moved(party: Party, target: Party) -> None:
    space = TemplateSpace(60)
    bulk = PheSegmentEncryptor(party.encryptor)
    templates = [quantize(face, space) for face in FACES[:3]]
    templates[1] = templates[1] * 2
    move = reencrypter(party, target)
    moved = move.reencrypt_segment(bulk.encrypt_quantized(templates, space), space, np.arange(3))
    assert move.replaced_count == 1
    prepared = target.comparer.prepare_probe(target.encryptor.encrypt(PROBE, space, TemplateUse.PLAINTEXT_PROBE), space)
    (response,) = target.comparer.search(prepared, [target.comparer.segment_from_bytes(moved, space)], [np.arange(3)])
    scores = target.decrypter.decrypt_integers(response, space, 3)
    first, middle, last = integer_scores(FACES[:3], PROBE, space)
    assert (scores[0], scores[2]) == (first, last)
    assert scores[1] not in (middle, 2 * middle)


def test_a_wiped_reencrypter_is_useless(party: Party, target: Party) -> None:
    space = TemplateSpace(60)
    template = party.encryptor.encrypt(FACES[0], space, TemplateUse.REFERENCE)
    move = reencrypter(party, target)
    move.wipe()
    with pytest.raises(IndexError):
        move.reencrypt_template(template, space, TemplateUse.REFERENCE)
