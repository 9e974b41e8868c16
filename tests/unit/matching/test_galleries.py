import pytest

from veilface.common.errors import AlreadyExistsError, InvalidArgumentError, NotFoundError, Reason
from veilface.common.names import GalleryName, KeyName, KeyVersionName
from veilface.crypto.contract import Metric

STAFF = GalleryName("staff")
ANNA = [1.0, 0.0, 0.0, 0.0]


async def test_a_gallery_is_bound_to_the_primary_version_of_its_key(make_world):
    gallery = await make_world().create(key=KeyName("faces"))
    assert (gallery.key_version, gallery.profile) == ("keys/faces/versions/1", "ckks-packed-128")
    assert (gallery.model, gallery.dimension, gallery.enrollment_count) == ("", 0, 0)


async def test_a_gallery_can_be_bound_to_a_version(make_world):
    gallery = await make_world().create(key=KeyVersionName("faces", 1), metric=Metric.SQUARED_EUCLIDEAN)
    assert (gallery.key_version, gallery.metric) == ("keys/faces/versions/1", Metric.SQUARED_EUCLIDEAN)


async def test_a_gallery_of_an_unknown_key_is_not_created(make_world):
    world = make_world()
    with pytest.raises(NotFoundError) as caught:
        await world.create(key=KeyName("nothing"))
    assert caught.value.reason is Reason.KEY_NOT_FOUND
    with pytest.raises(NotFoundError):
        await world.matching.galleries.get(STAFF)


async def test_a_name_can_be_taken_once(world):
    with pytest.raises(AlreadyExistsError) as caught:
        await world.create()
    assert caught.value.reason is Reason.GALLERY_EXISTS
    await world.create(GalleryName("other"))


async def test_the_first_enrollment_binds_model_and_dimension(world):
    await world.enroll("anna", ANNA)
    gallery = await world.matching.galleries.get(STAFF)
    assert (gallery.model, gallery.dimension) == ("dlib-resnet/hog/chip", 4)


async def test_galleries_are_listed_in_order_of_their_names_page_by_page(make_world):
    world = make_world()
    for name in ("c", "a", "e", "b", "d"):
        await world.create(GalleryName(name))
    seen, token = [], ""
    for _ in range(3):
        galleries, token = await world.matching.galleries.page(2, token)
        seen.append([gallery.name.gallery for gallery in galleries])
    assert seen == [["a", "b"], ["c", "d"], ["e"]]
    assert token == ""


async def test_a_token_of_another_list_is_refused(world):
    await world.create(GalleryName("other"))
    for number in range(3):
        await world.enroll(f"s{number}", ANNA)
    _, token = await world.matching.galleries.page(1, "")
    assert (await world.matching.galleries.page(1, token))[0][0].name == STAFF
    with pytest.raises(InvalidArgumentError) as caught:
        await world.matching.enrollments.page(STAFF, None, 1, token)
    assert caught.value.reason is Reason.INVALID_PAGE_TOKEN


async def test_a_deleted_gallery_is_gone_with_everything_in_it(world):
    await world.enroll("anna", ANNA)
    await world.settle()
    assert world.matching.library.memory.places
    assert world.shared.entries
    deleted = await world.matching.galleries.delete(STAFF)
    assert deleted.enrollment_count == 1
    assert not world.matching.library.memory.places
    assert not world.shared.entries
    with pytest.raises(NotFoundError):
        await world.matching.galleries.get(STAFF)
    with pytest.raises(NotFoundError):
        await world.search(ANNA)


async def test_a_gallery_created_again_shares_nothing_with_its_namesake(world):
    await world.enroll("anna", ANNA)
    assert await world.scores(ANNA) == {1: 1.0}
    await world.matching.galleries.delete(STAFF)
    await world.create()
    assert await world.scores(ANNA) == {}
    await world.enroll("ben", [0.0, 1.0, 0.0, 0.0])
    assert await world.scores(ANNA) == {1: 0.0}
