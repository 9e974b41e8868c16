import numpy as np
import pytest

from veilface.client.import_source import ImportSource
from veilface.common.errors import InvalidArgumentError, Reason
from veilface.crypto.contract import Metric


@pytest.fixture
def vectors():
    drawn = np.random.default_rng(1).normal(size=(20, 8)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


@pytest.fixture
def save(tmp_path):
    """Writes the two files."""

    def write(vectors, ids):
        np.save(tmp_path / "vectors.npy", vectors)
        (tmp_path / "ids.txt").write_text("\n".join(ids) + "\n")
        return tmp_path / "vectors.npy", tmp_path / "ids.txt"

    return write


def ids(count):
    return tuple(f"p{number}" for number in range(count))


def refusal(call):
    with pytest.raises(InvalidArgumentError) as caught:
        call()
    return caught.value


def test_a_file_is_mapped_and_not_read(save, vectors):
    source = ImportSource.read(*save(vectors, ids(20)))
    assert isinstance(source.vectors, np.memmap)
    assert (source.count, source.dimension) == (20, 8)
    assert source.subject_ids == ids(20)
    assert np.array_equal(source.rows(3, 7), vectors[3:7])
    source.check_embeddings(Metric.COSINE)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_both_floating_types_are_taken(vectors, dtype):
    ImportSource(vectors.astype(dtype), ids(20)).check_embeddings(Metric.COSINE)


@pytest.mark.parametrize(
    ("shape", "reason"),
    [((20,), Reason.WRONG_DIMENSION), ((2, 3, 4), Reason.WRONG_DIMENSION), ((0, 8), Reason.WRONG_DIMENSION)],
)
def test_another_shape_is_refused(shape, reason):
    error = refusal(lambda: ImportSource(np.zeros(shape, dtype=np.float32), ids(20)))
    assert error.reason is reason
    assert str(shape) in error.message


def test_more_dimensions_than_any_model_has_are_refused():
    error = refusal(lambda: ImportSource(np.zeros((1, 4097), dtype=np.float32), ids(1)))
    assert error.reason is Reason.WRONG_DIMENSION


@pytest.mark.parametrize("dtype", [np.float16, np.int64, np.complex64])
def test_another_type_is_refused(dtype):
    error = refusal(lambda: ImportSource(np.zeros((2, 8), dtype=dtype), ids(2)))
    assert error.reason is Reason.INVALID_FIELD
    assert "float32" in error.message


def test_every_embedding_needs_one_subject(vectors):
    for count in (19, 21):
        assert "20 embeddings" in refusal(lambda count=count: ImportSource(vectors, ids(count))).message


def test_a_subject_id_that_is_none_is_named_by_its_line(vectors):
    error = refusal(lambda: ImportSource(vectors, (*ids(18), "not an id", "p19")))
    assert error.reason is Reason.INVALID_NAME
    assert "19" in error.message


def test_a_subject_may_have_several_embeddings_but_not_too_many():
    vectors = np.ones((65, 1), dtype=np.float32)
    ImportSource(vectors[:64], ("ada",) * 64)
    assert refusal(lambda: ImportSource(vectors, ("ada",) * 65)).reason is Reason.SUBJECT_FULL


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("normalize", [False, True])
def test_a_value_that_is_not_finite_is_found_in_its_row(vectors, bad, normalize):
    vectors[13, 5] = bad
    error = refusal(lambda: ImportSource(vectors, ids(20), normalize).check_embeddings(Metric.COSINE))
    assert error.reason is Reason.EMBEDDING_OUT_OF_RANGE
    assert "row 13" in error.message
    assert "not finite" in error.message


def test_an_embedding_that_is_not_normalized_is_refused_and_the_way_out_named(vectors):
    vectors[4] *= 1.01
    error = refusal(lambda: ImportSource(vectors, ids(20)).check_embeddings(Metric.COSINE))
    assert "row 4" in error.message
    assert "--normalize" in error.message


def test_embeddings_are_normalized_on_demand(vectors):
    source = ImportSource(vectors * 7, ids(20), normalize=True)
    source.check_embeddings(Metric.COSINE)
    assert np.allclose(source.rows(0, 20), vectors, atol=1e-6)


def test_an_embedding_of_zeros_cannot_be_normalized(vectors):
    vectors[2] = 0
    error = refusal(lambda: ImportSource(vectors, ids(20), normalize=True).check_embeddings(Metric.COSINE))
    assert "row 2" in error.message


def test_distances_need_norms_of_at_most_one(vectors):
    ImportSource(vectors * 0.5, ids(20)).check_embeddings(Metric.SQUARED_EUCLIDEAN)
    error = refusal(lambda: ImportSource(vectors * 2, ids(20)).check_embeddings(Metric.SQUARED_EUCLIDEAN))
    assert "row 0" in error.message


def test_a_message_shows_no_value_of_an_embedding(vectors):
    vectors[4] *= 1.01
    error = refusal(lambda: ImportSource(vectors, ids(20)).check_embeddings(Metric.COSINE))
    assert not [value for value in vectors[4] if f"{abs(value):.3f}" in error.message]


def test_a_file_that_is_no_array_of_numbers_is_refused(save, tmp_path, vectors):
    _, ids_file = save(vectors, ids(20))
    broken = tmp_path / "broken.npy"
    broken.write_bytes(b"not an array")
    assert refusal(lambda: ImportSource.read(broken, ids_file)).reason is Reason.INVALID_FIELD
    np.save(broken, np.array([{"pickled": True}], dtype=object), allow_pickle=True)
    assert refusal(lambda: ImportSource.read(broken, ids_file)).reason is Reason.INVALID_FIELD
    np.savez(tmp_path / "several.npz", vectors, vectors)
    assert "several" in refusal(lambda: ImportSource.read(tmp_path / "several.npz", ids_file)).message


def test_a_list_of_subjects_that_is_no_text_is_refused(save, vectors):
    vectors_file, ids_file = save(vectors, ids(20))
    ids_file.write_bytes(b"\xff\xfe\x00")
    assert refusal(lambda: ImportSource.read(vectors_file, ids_file)).reason is Reason.INVALID_FIELD
