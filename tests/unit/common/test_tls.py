import pytest
from structlog.testing import capture_logs

from veilface.common.errors import ConfigurationError
from veilface.common.identities import KEYS_IDENTITY
from veilface.common.pki import CertificateAuthority, tls_settings
from veilface.common.tls import WatchedTlsFiles


@pytest.fixture
def authority(tmp_path):
    authority = CertificateAuthority.load_or_create(tmp_path)
    authority.issue(KEYS_IDENTITY).save(tmp_path, "keys")
    return authority


@pytest.fixture
def files(authority, tmp_path):
    return WatchedTlsFiles(tls_settings(tmp_path, "keys"))


def test_unchanged_files_are_not_read_again(files):
    before = files.contents
    assert not files.refresh()
    assert files.contents is before


def test_replaced_files_are_taken_once(files, authority, tmp_path):
    authority.issue(KEYS_IDENTITY).save(tmp_path, "keys")
    assert files.refresh()
    assert files.contents.certificate_chain == (tmp_path / "keys.crt").read_bytes()
    assert not files.refresh()


def test_unusable_files_are_complained_about_once_and_the_last_good_ones_are_kept(files, authority, tmp_path):
    good = files.contents
    (tmp_path / "keys.key").write_bytes(authority.issue(KEYS_IDENTITY).private_key_pem)
    with capture_logs() as logs:
        assert [files.refresh() for _ in range(3)] == [False] * 3
    assert [entry["event"] for entry in logs] == ["certificate_not_usable"]
    assert files.contents is good
    authority.issue(KEYS_IDENTITY).save(tmp_path, "keys")
    assert files.refresh()


def test_files_that_are_restored_after_a_failed_replacement_are_taken(files, tmp_path):
    good = (tmp_path / "keys.key").read_bytes()
    (tmp_path / "keys.key").unlink()
    assert not files.refresh()
    (tmp_path / "keys.key").write_bytes(good)
    assert files.refresh()


def test_contents_do_not_show_the_private_key(files):
    assert "PRIVATE KEY" not in repr(files.contents)


def test_missing_files_stop_the_start(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot read"):
        WatchedTlsFiles(tls_settings(tmp_path, "keys"))
