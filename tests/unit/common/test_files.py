import os
import stat

import pytest

from veilface.common.errors import ConfigurationError, Reason
from veilface.common.files import read_setting_file, write_private_file, write_public_file


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
@pytest.mark.parametrize(("write", "mode"), [(write_private_file, 0o600), (write_public_file, 0o644)])
def test_a_file_has_its_mode_whatever_the_umask(tmp_path, umask, write, mode):
    before = os.umask(umask)
    try:
        write(tmp_path / "file", b"content")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == mode
    assert (tmp_path / "file").read_bytes() == b"content"


def test_a_private_file_replaces_a_readable_one(tmp_path):
    write_public_file(tmp_path / "file", b"old")
    write_private_file(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    write_private_file(tmp_path / "file", b"old")
    with pytest.raises(TypeError):
        write_private_file(tmp_path / "file", "text where bytes belong")
    assert (tmp_path / "file").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("content", [b"", bytes((1 << 20) + 1)])
def test_an_empty_or_huge_setting_file_is_refused_with_what_it_should_hold(tmp_path, content):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="it should hold a token") as caught:
        read_setting_file(path, "a token")
    assert caught.value.reason is Reason.INVALID_SETTING
    path.write_bytes(b"token")
    assert read_setting_file(path, "a token") == b"token"


def test_a_folder_where_a_file_belongs_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot read"):
        read_setting_file(tmp_path, "a token")
