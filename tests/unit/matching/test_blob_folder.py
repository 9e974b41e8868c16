import hashlib
import os
import time

import pytest

from veilface.common.errors import DataLossError, Reason, UnavailableError
from veilface.matching.domain.blobs.folder import BlobFolder, blob_path
from veilface.matching.domain.records import BlobReference

GALLERY = 7
# Its last byte is none that a test puts in its place.
CONTENT = os.urandom(99_999) + bytes(1)
BLOB = BlobReference(hashlib.sha256(CONTENT).digest(), len(CONTENT))


@pytest.fixture
def folder(tmp_path):
    return BlobFolder(tmp_path, "store")


@pytest.fixture
def path(tmp_path):
    """Where a kept blob is."""
    return blob_path(tmp_path / "store" / str(GALLERY), BLOB.sha256)


def keep(folder, content=CONTENT, gallery=GALLERY):
    with folder.begin(gallery) as writer:
        writer.write(content[:10])
        writer.write(content[10:])
        writer.keep()


def damage(folder):
    with pytest.raises(DataLossError) as caught:
        folder.open(GALLERY, BLOB)
    assert caught.value.reason is Reason.DATA_LOSS
    return caught.value.message


def test_a_kept_blob_is_mapped_as_it_was_written(folder, path):
    keep(folder)
    assert bytes(folder.open(GALLERY, BLOB).view) == CONTENT
    assert [each.name for each in path.parent.iterdir()] == [f"{BLOB.sha256.hex()}.segment"]


def test_a_blob_has_no_name_before_it_is_kept(folder, path):
    with folder.begin(GALLERY) as writer:
        writer.write(CONTENT)
        assert bytes(writer.map().view) == CONTENT
        assert not path.exists()
    assert list(path.parent.iterdir()) == []


def test_a_blob_that_is_not_there_is_data_loss(folder):
    assert "cannot be used" in damage(folder)


@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda data: data[:-1] + b"x", lambda data: b""])
def test_a_blob_that_was_changed_on_disk_is_data_loss(folder, path, change):
    keep(folder)
    path.write_bytes(change(CONTENT))
    damage(folder)


def test_a_blob_that_is_changed_after_it_was_opened_is_found_when_it_is_opened_again(folder, path):
    keep(folder)
    folder.open(GALLERY, BLOB)
    path.write_bytes(CONTENT[:-1] + b"x")
    damage(folder)


def test_a_mapping_survives_the_file_and_gives_its_pages_back(folder, path):
    keep(folder)
    mapping = folder.open(GALLERY, BLOB)
    path.unlink()
    assert bytes(mapping.view) == CONTENT
    mapping.will_need()
    mapping.release()
    assert bytes(mapping.view) == CONTENT


def test_what_nothing_refers_to_is_removed_when_it_is_old_enough(folder, tmp_path):
    keep(folder)
    other = os.urandom(1000)
    keep(folder, other)
    assert folder.remove_others(GALLERY, {BLOB.sha256}) == 0
    later = BlobFolder(tmp_path, "store", clock=lambda: time.time() + 7200)
    assert later.remove_others(GALLERY, {BLOB.sha256}) == 1
    assert bytes(folder.open(GALLERY, BLOB).view) == CONTENT
    with pytest.raises(DataLossError):
        folder.open(GALLERY, BlobReference(hashlib.sha256(other).digest(), len(other)))


def test_what_an_interrupted_import_left_is_removed_too(folder, path, tmp_path):
    writer = folder.begin(GALLERY)
    writer.write(CONTENT)
    assert len(list(path.parent.iterdir())) == 1
    later = BlobFolder(tmp_path, "store", clock=lambda: time.time() + 7200)
    assert later.remove_others(GALLERY, ()) == 1
    assert not path.parent.exists()


def test_a_deleted_gallery_takes_its_blobs_with_it_at_once_and_no_others(folder, path):
    keep(folder)
    keep(folder, gallery=GALLERY + 1)
    assert sorted(folder.galleries()) == [GALLERY, GALLERY + 1]
    folder.remove_gallery(GALLERY)
    assert not path.parent.exists()
    assert folder.galleries() == [GALLERY + 1]


def test_stores_that_share_a_folder_do_not_see_each_other(folder, tmp_path):
    keep(folder)
    other = BlobFolder(tmp_path, "another")
    assert other.galleries() == []
    with pytest.raises(DataLossError):
        other.open(GALLERY, BLOB)


def test_a_folder_that_cannot_be_made_is_unavailable(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(UnavailableError) as caught:
        BlobFolder(tmp_path / "file", "store").begin(GALLERY)
    assert caught.value.reason is Reason.DEPENDENCY_UNAVAILABLE
