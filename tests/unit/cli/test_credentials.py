"""veilface credentials: each party's folder holds what it needs, and works with what the others hold."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store

from tests.unit.cli.conftest import Run
from veilface.cli.exit_codes import ExitCode
from veilface.client import ClientSettings
from veilface.common.certificate_facts import certificate_facts
from veilface.common.errors import PermissionDeniedError
from veilface.common.identities import (
    CLIENT_IDENTITY,
    EMBEDDING_IDENTITY,
    KEYS_IDENTITY,
    MATCHING_IDENTITY,
    OPERATOR_IDENTITY,
)
from veilface.common.pki import CertificateAuthority, load_certificate
from veilface.common.signing import SEGMENT_DOMAIN, TEMPLATE_DOMAIN, Signer, TrustStore
from veilface.keys.domain.master_key import FileSource

IDENTITIES = {"embedding": EMBEDDING_IDENTITY, "keys": KEYS_IDENTITY, "matching": MATCHING_IDENTITY}
TLS = {"tls.crt", "tls.key", "ca.crt"}
HELD = {
    "embedding": TLS | {"signing.key"},
    "keys": TLS | {"signing.key", "trust.json", "master.key"},
    "matching": TLS | {"signing.key", "trust.json"},
}


@pytest.fixture
def folder(tmp_path: Path, veilface: Run) -> Path:
    made = tmp_path / "credentials"
    assert veilface("credentials", "create", str(made)).exit_code == ExitCode.DONE
    return made


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_each_party_holds_what_it_needs_and_nothing_else(folder: Path) -> None:
    for service, files in HELD.items():
        assert {path.name for path in (folder / service).iterdir()} == files
    assert {path.name for path in (folder / "authority").iterdir()} == {"ca.crt", "ca.key"}
    private = list(folder.rglob("*.key"))
    assert len(private) == 1 + 3 + 3 + 1 + 2 + 1
    assert {path.stat().st_mode & 0o777 for path in private} == {0o600}
    assert {path.stat().st_mode & 0o777 for path in (folder, *folder.iterdir())} == {0o700}
    assert len({path.read_bytes() for path in private}) == len(private)


@pytest.mark.parametrize("service", IDENTITIES)
def test_every_service_is_accepted_under_its_own_host_name(folder: Path, service: str) -> None:
    facts = certificate_facts(folder / service, "tls")
    assert (facts.identity, facts.is_trusted_here) == (IDENTITIES[service], True)
    store = Store([load_certificate(folder / "operator" / "certificates" / "ca.crt")])
    verifier = PolicyBuilder().store(store).build_server_verifier(x509.DNSName(service))
    assert verifier.verify(load_certificate(folder / service / "tls.crt"), [])


def test_signatures_are_trusted_exactly_where_they_must_be(folder: Path) -> None:
    signers = {
        identity: Signer.from_file(folder / service / "signing.key", identity)
        for service, identity in IDENTITIES.items()
    }
    operator = Signer.from_file(folder / "operator" / "signing" / "operator.key", OPERATOR_IDENTITY)
    by_keys = TrustStore.from_file(folder / "keys" / "trust.json")
    by_matching = TrustStore.from_file(folder / "matching" / "trust.json")
    for signer in (signers[EMBEDDING_IDENTITY], signers[KEYS_IDENTITY]):
        by_keys.verify(TEMPLATE_DOMAIN, b"template", signer.sign(TEMPLATE_DOMAIN, b"template"))
        by_matching.verify(TEMPLATE_DOMAIN, b"template", signer.sign(TEMPLATE_DOMAIN, b"template"))
    by_matching.verify(SEGMENT_DOMAIN, b"segment", operator.sign(SEGMENT_DOMAIN, b"segment"))
    with pytest.raises(PermissionDeniedError):
        by_keys.verify(SEGMENT_DOMAIN, b"segment", operator.sign(SEGMENT_DOMAIN, b"segment"))
    assert by_keys.identities == set(IDENTITIES.values())
    assert by_matching.identities == {EMBEDDING_IDENTITY, KEYS_IDENTITY, OPERATOR_IDENTITY}


def test_the_command_line_finds_the_services_as_client_and_as_operator(folder: Path) -> None:
    for name, identity in (("client", CLIENT_IDENTITY), ("operator", OPERATOR_IDENTITY)):
        settings = ClientSettings.from_state(folder / "operator", name)
        assert settings.key_service == "keys:7002"
        assert settings.embedding_service == "embedding:7001"
        assert settings.matching_service == "matching:7003"
        assert certificate_facts(folder / "operator" / "certificates", name).identity == identity
    assert ClientSettings.from_state(folder / "operator", "operator").import_signer().identity == OPERATOR_IDENTITY


def test_the_master_key_opens(folder: Path) -> None:
    assert len(FileSource(folder / "keys" / "master.key").load().key_id) == 8


def test_nothing_changes_when_it_is_run_again(veilface: Run, folder: Path) -> None:
    before = contents(folder)
    again = veilface("credentials", "create", str(folder), "--json")
    assert again.document["renewed"] == []
    assert contents(folder) == before


def test_chosen_addresses_are_named_in_certificates_and_stay(veilface: Run, tmp_path: Path) -> None:
    folder = tmp_path / "credentials"
    addresses = ("--keys", "keys.example.org:7002", "--keys", "10.0.0.7:443", "--matching", "[2001:DB8::1]:7003")
    first = veilface("credentials", "create", str(folder), *addresses, "--json").document
    assert first["addresses"] == {
        "embedding": "embedding:7001",
        "keys": "keys.example.org:7002",
        "matching": "[2001:DB8::1]:7003",
    }
    facts = certificate_facts(folder / "keys", "tls")
    assert facts.dns_names == ("localhost", "keys.example.org")
    assert facts.ip_addresses == ("127.0.0.1", "::1", "10.0.0.7")
    assert "2001:db8::1" in certificate_facts(folder / "matching", "tls").ip_addresses
    assert len(first["renewed"]) == 5
    again = veilface("credentials", "create", str(folder), "--json").document
    assert again == {**first, "renewed": []}
    same = veilface("credentials", "create", str(folder), *addresses, "--json").document
    assert same == again


def test_a_host_that_a_certificate_does_not_name_yet_is_added(veilface: Run, folder: Path) -> None:
    before = contents(folder)
    more = ("--matching", "matching.example.org:7003")
    assert veilface("credentials", "create", str(folder), *more, "--json").document["renewed"] == ["matching/tls"]
    facts = certificate_facts(folder / "matching", "tls")
    assert facts.dns_names == ("localhost", "matching", "matching.example.org")
    changed = {path.relative_to(folder).as_posix() for path, old in before.items() if path.read_bytes() != old}
    assert changed == {"matching/tls.crt", "matching/tls.key", "operator/client.json"}


def test_a_certificate_that_expires_soon_is_renewed(veilface: Run, folder: Path) -> None:
    authority = CertificateAuthority.load(folder / "authority")
    authority.issue(KEYS_IDENTITY, ["keys"], (), timedelta(days=5)).save(folder / "keys", "tls")
    assert veilface("credentials", "create", str(folder), "--json").document["renewed"] == ["keys/tls"]
    assert certificate_facts(folder / "keys", "tls").dns_names == ("localhost", "keys")


@pytest.mark.parametrize("wrong", ["keys", "keys:", ":7002", "keys:0", "keys:65536", "https://keys:7002", "unix:/keys"])
def test_what_is_no_address_is_refused_before_anything_is_made(veilface: Run, tmp_path: Path, wrong: str) -> None:
    refused = veilface("credentials", "create", str(tmp_path / "credentials"), "--keys", wrong, "--json")
    assert refused.exit_code == ExitCode.SETUP
    assert refused.document["error"]["reason"] == "INVALID_SETTING"
    assert not (tmp_path / "credentials").exists()


def test_a_folder_that_cannot_be_made_is_named(veilface: Run, tmp_path: Path) -> None:
    (tmp_path / "credentials").write_text(json.dumps({}))
    refused = veilface("credentials", "create", str(tmp_path / "credentials"), "--json")
    assert refused.exit_code != ExitCode.DONE
