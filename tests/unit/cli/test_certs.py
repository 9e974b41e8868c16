import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store

from tests.unit.cli.conftest import Run
from veilface.cli.exit_codes import ExitCode
from veilface.common.pki import CertificateAuthority, load_certificate

KEYS = "spiffe://veilface/keys"


@pytest.fixture
def folder(tmp_path: Path, veilface: Run) -> Path:
    made = tmp_path / "certificates"
    assert veilface("certs", "create-authority", str(made)).exit_code == ExitCode.DONE
    return made


def days_left(document: dict[str, str]) -> int:
    return round((datetime.fromisoformat(document["not_after"]) - datetime.now(UTC)) / timedelta(days=1))


def test_an_issued_certificate_carries_what_was_asked_for_and_is_accepted(veilface: Run, folder: Path) -> None:
    names = ("--dns", "keys.example.org", "--dns", "keys", "--ip", "10.0.0.7")
    issued = veilface("certs", "issue", str(folder), "keys", "--identity", KEYS, *names, "--days", "10", "--json")
    assert issued.exit_code == ExitCode.DONE
    assert issued.document["identity"] == KEYS
    assert issued.document["dns_names"] == ["localhost", "keys.example.org", "keys"]
    assert "10.0.0.7" in issued.document["ip_addresses"]
    assert days_left(issued.document) == 10
    store = Store([load_certificate(folder / "ca.crt")])
    verifier = PolicyBuilder().store(store).build_server_verifier(x509.DNSName("keys.example.org"))
    assert verifier.verify(load_certificate(folder / "keys.crt"), [])
    assert stat.S_IMODE((folder / "keys.key").stat().st_mode) == 0o600
    assert stat.S_IMODE((folder / "ca.key").stat().st_mode) == 0o600


def test_an_authority_is_never_replaced(veilface: Run, folder: Path) -> None:
    before = (folder / "ca.key").read_bytes()
    refused = veilface("certs", "create-authority", str(folder), "--json")
    assert refused.exit_code == ExitCode.SETUP
    assert refused.document["error"]["reason"] == "INVALID_SETTING"
    assert (folder / "ca.key").read_bytes() == before


def test_a_certificate_is_not_issued_over_another(veilface: Run, folder: Path) -> None:
    issue = ("certs", "issue", str(folder), "keys", "--identity", KEYS)
    assert veilface(*issue).exit_code == ExitCode.DONE
    before = (folder / "keys.crt").read_bytes()
    assert veilface(*issue).exit_code == ExitCode.SETUP
    assert (folder / "keys.crt").read_bytes() == before


@pytest.mark.parametrize("name", ["ca", "../keys", "a/b", "", ".hidden", "-x", "keys.crt", "a" * 64])
def test_a_name_that_is_no_file_of_the_folder_or_the_authority_is_refused(
    veilface: Run, folder: Path, name: str
) -> None:
    before = sorted((path.name, path.read_bytes()) for path in folder.iterdir())
    for command in (("issue", str(folder), "--identity", KEYS), ("renew", str(folder))):
        assert veilface("certs", *command, "--", name).exit_code == ExitCode.SETUP
    assert sorted((path.name, path.read_bytes()) for path in folder.iterdir()) == before


@pytest.mark.parametrize("wrong", [("--identity", "keys"), ("--identity", KEYS, "--ip", "300.1.1.1")])
def test_what_no_certificate_can_carry_is_refused(veilface: Run, folder: Path, wrong: tuple[str, ...]) -> None:
    assert veilface("certs", "issue", str(folder), "keys", *wrong).exit_code == ExitCode.SETUP
    assert not (folder / "keys.crt").exists()


def test_a_renewed_certificate_keeps_its_names_and_gets_a_new_key(veilface: Run, folder: Path) -> None:
    issue = ("--identity", KEYS, "--dns", "keys.example.org", "--days", "5")
    before = veilface("certs", "issue", str(folder), "keys", *issue, "--json").document
    key = (folder / "keys.key").read_bytes()
    after = veilface("certs", "renew", str(folder), "keys", "--json").document
    assert after["renewed"] is True
    assert days_left(after) == 90
    assert (folder / "keys.key").read_bytes() != key
    for same in ("name", "identity", "dns_names", "ip_addresses"):
        assert after[same] == before[same]
    assert after["serial_number"] != before["serial_number"]


def test_a_certificate_with_time_left_is_kept_if_told_so(veilface: Run, folder: Path) -> None:
    veilface("certs", "issue", str(folder), "keys", "--identity", KEYS, "--days", "20")
    renew = ("certs", "renew", str(folder), "keys", "--json", "--within")
    assert veilface(*renew, "10").document["renewed"] is False
    assert veilface(*renew, "30").document["renewed"] is True


def test_a_folder_shows_whose_certificates_it_holds_and_which_are_no_good(veilface: Run, folder: Path) -> None:
    veilface("certs", "issue", str(folder), "keys", "--identity", KEYS)
    CertificateAuthority.load(folder).issue(KEYS, validity=timedelta(seconds=-1)).save(folder, "late")
    CertificateAuthority.create().issue(KEYS).save(folder, "foreign")
    shown = veilface("certs", "show", str(folder), "--json").document["certificates"]
    assert [each["name"] for each in shown] == ["ca", "foreign", "keys", "late"]
    assert [each["is_trusted_here"] for each in shown] == [True, False, True, True]
    assert [each["is_authority"] for each in shown] == [True, False, False, False]
    text = veilface("certs", "show", str(folder)).stdout
    lines = {line.split()[0]: line for line in text.splitlines() if line.split()}
    assert "good" in lines["keys"]
    assert "expired" in lines["late"]
    assert "of another authority" in lines["foreign"]


def test_no_output_holds_a_private_key(veilface: Run, folder: Path) -> None:
    printed = [
        veilface("certs", "issue", str(folder), "keys", "--identity", KEYS, "--json"),
        veilface("certs", "renew", str(folder), "keys"),
        veilface("certs", "show", str(folder), "--json"),
    ]
    private = (folder / "keys.key").read_text().splitlines()[1:-1]
    assert private
    assert not any(line in each.stdout + each.stderr for each in printed for line in private)


def test_a_folder_without_an_authority_is_a_matter_of_set_up(veilface: Run, tmp_path: Path) -> None:
    for command in (("show", str(tmp_path)), ("renew", str(tmp_path), "keys")):
        finished = veilface("certs", *command, "--json")
        assert finished.exit_code == ExitCode.SETUP
        assert "ca.crt" in finished.document["error"]["message"]
