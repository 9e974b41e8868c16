import ipaddress
import stat
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from veilface.common.errors import ConfigurationError
from veilface.common.identities import KEYS_IDENTITY
from veilface.common.pki import CertificateAuthority, load_certificate, tls_settings


@pytest.fixture(scope="module")
def authority():
    return CertificateAuthority.create()


def leaf(issued):
    return x509.load_pem_x509_certificate(issued.certificate_pem)


def names_of(certificate):
    return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value


def verifier(authority):
    store = Store([x509.load_pem_x509_certificate(authority.certificate_pem)])
    return PolicyBuilder().store(store)


def test_a_certificate_carries_one_identity_its_host_names_and_addresses(authority):
    names = names_of(leaf(authority.issue(KEYS_IDENTITY, ["keys.example.org"], ["10.0.0.7"])))
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [KEYS_IDENTITY]
    assert names.get_values_for_type(x509.DNSName) == ["localhost", "keys.example.org"]
    assert names.get_values_for_type(x509.IPAddress) == [
        ipaddress.ip_address(address) for address in ("127.0.0.1", "::1", "10.0.0.7")
    ]


def test_a_certificate_is_accepted_as_server_and_as_client_by_who_trusts_its_authority(authority):
    certificate = leaf(authority.issue(KEYS_IDENTITY))
    assert verifier(authority).build_server_verifier(x509.DNSName("localhost")).verify(certificate, [])
    assert verifier(authority).build_client_verifier().verify(certificate, []).subjects
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(usage) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}


def test_a_certificate_of_another_authority_is_not_accepted(authority):
    certificate = leaf(CertificateAuthority.create().issue(KEYS_IDENTITY))
    with pytest.raises(VerificationError):
        verifier(authority).build_client_verifier().verify(certificate, [])


def test_the_holder_of_a_certificate_cannot_issue_certificates(authority):
    issued = authority.issue(KEYS_IDENTITY)
    key = serialization.load_pem_private_key(issued.private_key_pem, password=None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert isinstance(key.curve, ec.SECP256R1)
    forged = leaf(CertificateAuthority(leaf(issued), key).issue("spiffe://veilface/operator"))
    with pytest.raises(VerificationError):
        verifier(authority).build_client_verifier().verify(forged, [leaf(issued)])


def test_a_certificate_never_outlives_its_authority():
    authority = CertificateAuthority.create(validity=timedelta(days=10))
    certificate = leaf(authority.issue(KEYS_IDENTITY, validity=timedelta(days=90)))
    end = x509.load_pem_x509_certificate(authority.certificate_pem).not_valid_after_utc
    assert certificate.not_valid_after_utc == end


def test_a_saved_authority_issues_the_same_and_only_its_owner_can_read_its_key(authority, tmp_path):
    authority.save(tmp_path)
    assert stat.S_IMODE((tmp_path / "ca.key").stat().st_mode) == 0o600
    certificate = leaf(CertificateAuthority.load(tmp_path).issue(KEYS_IDENTITY))
    assert verifier(authority).build_client_verifier().verify(certificate, []).subjects


def test_a_folder_keeps_its_authority(tmp_path):
    folder = tmp_path / "pki"
    created = CertificateAuthority.load_or_create(folder)
    assert CertificateAuthority.load_or_create(folder).certificate_pem == created.certificate_pem


def test_a_key_that_an_interrupted_start_left_behind_gets_its_certificate(tmp_path):
    created = CertificateAuthority.load_or_create(tmp_path)
    issued = leaf(created.issue(KEYS_IDENTITY))
    (tmp_path / "ca.crt").unlink()
    again = CertificateAuthority.load_or_create(tmp_path)
    assert CertificateAuthority.load_or_create(tmp_path).certificate_pem == again.certificate_pem
    # What was issued before is accepted still.
    assert verifier(again).build_client_verifier().verify(issued, []).subjects


def test_half_an_authority_is_not_silently_replaced(tmp_path):
    CertificateAuthority.load_or_create(tmp_path)
    (tmp_path / "ca.key").unlink()
    with pytest.raises(ConfigurationError, match=r"ca\.key"):
        CertificateAuthority.load_or_create(tmp_path)


def test_an_authority_with_the_key_of_another_is_refused(authority, tmp_path):
    authority.save(tmp_path)
    (tmp_path / "other").mkdir()
    CertificateAuthority.create().save(tmp_path / "other")
    (tmp_path / "other" / "ca.key").replace(tmp_path / "ca.key")
    with pytest.raises(ConfigurationError, match="is not the key of"):
        CertificateAuthority.load(tmp_path)


def test_issued_files_are_where_the_tls_settings_say_and_the_key_is_private(authority, tmp_path):
    authority.save(tmp_path)
    authority.issue(KEYS_IDENTITY).save(tmp_path, "keys")
    tls = tls_settings(tmp_path, "keys")
    assert all(path.is_file() for path in (tls.certificate, tls.private_key, tls.ca))
    assert stat.S_IMODE(tls.private_key.stat().st_mode) == 0o600


def test_a_certificate_is_renewed_only_when_it_is_due_and_keeps_its_names(authority, tmp_path):
    authority.issue(KEYS_IDENTITY, ["keys.example.org"], ["10.0.0.7"], timedelta(days=20)).save(tmp_path, "keys")
    before = load_certificate(tmp_path / "keys.crt")
    assert not authority.renew(tmp_path, "keys", margin=timedelta(days=10))
    assert load_certificate(tmp_path / "keys.crt") == before
    assert authority.renew(tmp_path, "keys", margin=timedelta(days=30))
    after = load_certificate(tmp_path / "keys.crt")
    assert after.not_valid_after_utc > datetime.now(UTC) + timedelta(days=80)
    assert set(names_of(after)) == set(names_of(before))
    assert after.public_key() != before.public_key()


@pytest.mark.parametrize("identity", ["", "keys", "spiffe://", "spiffe://veilface/a b", "spiffe://veilface/\n", "//a"])
def test_what_is_no_identity_gets_no_certificate(authority, identity):
    with pytest.raises(ConfigurationError):
        authority.issue(identity)


@pytest.mark.parametrize(("dns_names", "ip_addresses"), [(["b\u00fccher"], []), ([], ["10.0.0.300"])])
def test_a_malformed_host_name_or_address_is_refused(authority, dns_names, ip_addresses):
    with pytest.raises(ConfigurationError, match="malformed"):
        authority.issue(KEYS_IDENTITY, dns_names, ip_addresses)


def test_an_issued_certificate_does_not_show_its_private_key(authority):
    issued = authority.issue(KEYS_IDENTITY)
    assert "PRIVATE" not in repr(issued)
