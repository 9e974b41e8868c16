"""Every scheme refuses the same wrong things, each with its own reason; each refusal beside what is accepted."""

import hashlib
from dataclasses import replace

import pytest
from tests.integration.conformance.conftest import System
from tests.schemes import RESEARCH_PROFILES

from veilface.cli.local_stack.stack import LocalStack
from veilface.client import VeilfaceClient
from veilface.common.attested import SignedTemplate, sign_template, verify_template
from veilface.common.errors import InvalidArgumentError, PermissionDeniedError, Reason, VeilfaceError
from veilface.common.identities import EMBEDDING_IDENTITY
from veilface.common.signing import Signer, TrustStore
from veilface.crypto.contract import Scheme, TemplateUse

DIMENSION = 128


def resigned(stack: LocalStack, template: SignedTemplate, ciphertext: bytes) -> SignedTemplate:
    """The template with another ciphertext, as if the embedding service itself had made it."""
    statement = verify_template(TrustStore.from_file(stack.layout.trust / "matching.json"), template)
    changed = replace(statement, ciphertext_sha256=hashlib.sha256(ciphertext).digest())
    signer = Signer.from_file(stack.layout.signing / "embedding.key", EMBEDDING_IDENTITY)
    return sign_template(signer, changed, ciphertext)


def enroll(system: System, gallery: str, template: SignedTemplate) -> None:
    system.client.enrollments.create(
        gallery, template, "mallory", request_id=hashlib.sha256(template.ciphertext).hexdigest()[:32]
    )


def test_what_is_resigned_unchanged_is_accepted(system: System, stack: LocalStack, own_gallery: str) -> None:
    reference = system.reference(0)
    enroll(system, own_gallery, resigned(stack, reference, reference.ciphertext))
    probe = resigned(stack, system.probes[0], system.probes[0].ciphertext)
    assert system.client.verify_template(own_gallery, "mallory", probe).is_match


@pytest.mark.parametrize("cut", [1, 1000])
def test_a_truncated_ciphertext_is_refused_though_it_is_signed(
    system: System, stack: LocalStack, own_gallery: str, cut: int
) -> None:
    reference, probe = system.references[0], system.probes[0]
    kept = min(cut, len(probe.ciphertext) - 1)
    with pytest.raises(InvalidArgumentError) as refused:
        enroll(system, own_gallery, resigned(stack, reference, reference.ciphertext[:-cut]))
    assert refused.value.reason is Reason.WRONG_SIZE
    for ask in (
        lambda template: system.client.verify_template(own_gallery, "ada", template),
        lambda template: system.client.identify_template(own_gallery, template),
    ):
        with pytest.raises(InvalidArgumentError) as refused:
            ask(resigned(stack, probe, probe.ciphertext[:-kept]))
        assert refused.value.reason is Reason.WRONG_SIZE


def test_a_ciphertext_of_noise_is_refused_though_it_is_signed(
    system: System, stack: LocalStack, own_gallery: str
) -> None:
    reference = system.references[0]
    # The header stays; every number behind it is larger than any modulus allows.
    noise = reference.ciphertext[:32] + b"\xff" * (len(reference.ciphertext) - 32)
    with pytest.raises(InvalidArgumentError) as refused:
        enroll(system, own_gallery, resigned(stack, reference, noise))
    assert refused.value.reason is Reason.MALFORMED_CIPHERTEXT


def test_a_changed_ciphertext_is_refused(system: System, own_gallery: str) -> None:
    genuine = system.references[0]
    changed = bytearray(genuine.ciphertext)
    changed[len(changed) // 2] ^= 1
    with pytest.raises(InvalidArgumentError) as refused:
        enroll(system, own_gallery, SignedTemplate(genuine.statement_bytes, bytes(changed), genuine.signature))
    assert refused.value.reason is Reason.DIGEST_MISMATCH


@pytest.mark.parametrize("dimension", [DIMENSION - 1, 2 * DIMENSION])
def test_a_template_of_another_dimension_is_refused(system: System, own_gallery: str, dimension: int) -> None:
    with pytest.raises(VeilfaceError) as refused:
        enroll(system, own_gallery, system.forger.template(dimension, TemplateUse.REFERENCE))
    assert refused.value.reason is Reason.WRONG_DIMENSION
    with pytest.raises(VeilfaceError) as refused:
        system.client.identify_template(own_gallery, system.forger.template(dimension, system.case.probe_use))
    assert refused.value.reason is Reason.WRONG_DIMENSION


def test_a_template_of_the_right_dimension_is_accepted_from_the_same_maker(system: System, own_gallery: str) -> None:
    enroll(system, own_gallery, system.forger.template(DIMENSION, TemplateUse.REFERENCE))
    probe = system.forger.template(DIMENSION, system.case.probe_use)
    assert not system.client.verify_template(own_gallery, "mallory", probe).is_match


def test_a_template_under_another_key_is_refused(system: System, own_gallery: str) -> None:
    template = system.client.extract(system.people.references[0], TemplateUse.REFERENCE, key=system.strict_key)
    with pytest.raises(VeilfaceError) as refused:
        enroll(system, own_gallery, template.faces[0].template)
    assert refused.value.reason is Reason.WRONG_KEY_VERSION


def test_a_reference_is_no_probe_and_a_probe_no_reference(system: System, own_gallery: str) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        enroll(system, own_gallery, system.probes[0])
    assert refused.value.reason is Reason.WRONG_USE
    with pytest.raises(InvalidArgumentError) as refused:
        system.client.identify_template(own_gallery, system.references[0])
    assert refused.value.reason is Reason.WRONG_USE


def test_a_plaintext_probe_is_made_only_where_the_policy_allows_it(system: System) -> None:
    photograph = system.people.probes[0]
    with pytest.raises(PermissionDeniedError) as refused:
        system.client.extract(photograph, TemplateUse.PLAINTEXT_PROBE, key=system.strict_key)
    assert refused.value.reason is Reason.POLICY_DENIED
    if system.case.takes_plaintext_probes:
        extraction = system.client.extract(photograph, TemplateUse.PLAINTEXT_PROBE, key=system.key)
        answer = system.client.identify_template(system.gallery, extraction.faces[0].template)
        assert answer.candidates[0].subject == "person-0"
    else:
        with pytest.raises(InvalidArgumentError) as unsupported:
            system.client.extract(photograph, TemplateUse.PLAINTEXT_PROBE, key=system.key)
        assert unsupported.value.reason is Reason.UNSUPPORTED_BY_SCHEME


def test_an_encrypted_probe_is_made_unless_the_scheme_cannot_compare_it(system: System) -> None:
    photograph = system.people.probes[0]
    if system.case.is_additive:
        with pytest.raises(InvalidArgumentError, match="clear") as refused:
            system.client.extract(photograph, TemplateUse.PROBE, key=system.key)
        assert refused.value.reason is Reason.UNSUPPORTED_BY_SCHEME
    else:
        extraction = system.client.extract(photograph, TemplateUse.PROBE, key=system.key)
        assert system.client.verify_template(system.gallery, "person-0", extraction.faces[0].template).is_match


@pytest.mark.parametrize(("scheme", "profile"), RESEARCH_PROFILES)
def test_80_bits_are_refused_by_a_service_that_is_not_for_research(
    operator: VeilfaceClient, scheme: Scheme, profile: str
) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        operator.keys.create(profile, scheme, profile)
    assert refused.value.reason is Reason.INSECURE_PARAMETERS


def test_a_profile_of_another_scheme_is_refused(operator: VeilfaceClient) -> None:
    with pytest.raises(InvalidArgumentError) as refused:
        operator.keys.create("mixed", Scheme.PAILLIER, "ckks-packed-128")
    assert refused.value.reason is Reason.UNKNOWN_PROFILE
