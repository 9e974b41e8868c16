"""What a response tells the holder of the secret key about templates that it was not asked for."""

import secrets
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.unit.crypto.phe.conftest import Party
from tests.unit.crypto.phe.faces import embeddings, integer_scores
from veilface.common.errors import InvalidCiphertextError
from veilface.crypto.contract import Metric, TemplateSpace, TemplateUse
from veilface.crypto.public.phe.profiles import phe_profile
from veilface.crypto.public.phe.quantization import quantize
from veilface.crypto.public.phe.segment import PheSegment
from veilface.crypto.public.phe.slots import CARRY_BLUR, SlotLayout, slot_layout

DIMENSION = 16
ANSWERS = 400
DRAWS = 3200
BINS = 4
# Sixteen equally likely cells: the statistic exceeds this once in 1e9 tests.
CHI_SQUARE_LIMIT = 74.4
FACES = embeddings(3, DIMENSION, seed=61)
PROBE = FACES[0]
LAYOUTS = {metric: slot_layout(phe_profile("paillier-112"), TemplateSpace(512, metric)) for metric in Metric}


def segment_of(party: Party, faces: NDArray[np.float64], slots: Sequence[int], space: TemplateSpace) -> PheSegment:
    segment = party.comparer.new_segment(space)
    segment.add_many([party.encryptor.encrypt(face, space, TemplateUse.REFERENCE) for face in faces], slots)
    return segment


def responses(party: Party, segment: PheSegment, shown: int, count: int) -> list[bytes]:
    query = party.encryptor.encrypt(PROBE, segment.space, TemplateUse.PLAINTEXT_PROBE)
    prepared = party.comparer.prepare_probe(query, segment.space)
    return party.comparer.search(prepared, [segment] * count, [np.array([shown])] * count)


def decrypted(party: Party, response: bytes) -> int:
    width = party.key.profile.ciphertext_bytes
    return party.private_key.decrypt(int.from_bytes(response[-width:], "little"))


def masked_slots_only(layout: SlotLayout, occupied: Sequence[int], shown: Sequence[int]) -> int:
    """The control: a mask for hidden templates alone, not for empty slots, and no guard."""
    return sum(secrets.randbits(layout.bits) << layout.shift(slot) for slot in occupied if slot not in shown)


def bounds_if_nothing_lies_above(layout: SlotLayout, slot: int, plaintexts: Sequence[int]) -> tuple[int, int]:
    """An attack on a masked score: if score and mask are all there is from `slot` up, each answer bounds the score."""
    bias = layout.same_in(range(slot + 1), layout.bias)
    sums = [(plaintext + bias >> layout.shift(slot)) - layout.bias for plaintext in plaintexts]
    return max(sums) - (1 << layout.bits) + 1, min(sums)


@pytest.mark.parametrize("metric", list(Metric))
@pytest.mark.parametrize("shown", [0, 2], ids=["below", "above"])
def test_a_hidden_template_of_the_probes_own_face_disturbs_no_other_score(party: Party, metric: Metric, shown: int):
    space = TemplateSpace(DIMENSION, metric)
    segment = segment_of(party, FACES[:2], [1, shown], space)
    (expected,) = integer_scores(FACES[1:2], PROBE, space)

    scores = [
        party.decrypter.decrypt_integers(response, space, 1)[0]
        for response in responses(party, segment, shown, ANSWERS // 4)
    ]

    blur = CARRY_BLUR if shown == 2 else 0
    assert all(0 <= score - expected <= blur for score in scores)


def test_without_the_probes_norm_a_hidden_distance_is_negative_and_decisions_fail():
    layout = slot_layout(phe_profile("paillier-112"), TemplateSpace(DIMENSION, Metric.SQUARED_EUCLIDEAN))
    face = quantize(PROBE, TemplateSpace(DIMENSION))
    norm = int(face @ face)
    hidden_without = norm - 2 * norm
    failed = {True: 0, False: 0}
    for with_norm in failed:
        hidden = hidden_without + norm * with_norm
        for _ in range(ANSWERS):
            try:
                layout.read(7 + (hidden << layout.shift(1)) + masked_slots_only(layout, [0, 1], [0]), np.array([0]))
            except InvalidCiphertextError:
                failed[with_norm] += 1
    # A quarter of 400 answers, and more than 40 of them but for once in 1e12 runs.
    assert failed[False] > 40
    assert failed[True] == 0


@pytest.mark.parametrize("metric", list(Metric))
@pytest.mark.parametrize("highest", [False, True], ids=["below an empty slot", "highest slot"])
def test_the_answers_to_many_searches_do_not_pin_a_hidden_score(party: Party, metric: Metric, highest: bool):
    space = TemplateSpace(DIMENSION, metric)
    layout = slot_layout(party.key.profile, space)
    slot = layout.capacity - 1 if highest else 1
    segment = segment_of(party, FACES[:2], [slot, 0], space)
    score, shown = integer_scores(FACES[:2], PROBE, space)

    attacked = [decrypted(party, response) for response in responses(party, segment, 0, ANSWERS // 4)]

    low, high = bounds_if_nothing_lies_above(layout, slot, attacked)
    assert low > high
    # The control: with the hidden slot masked alone the bounds close in on its score.
    unmasked = shown + (score << layout.shift(slot))
    exposed = [unmasked + masked_slots_only(layout, [0, slot], [0]) for _ in range(ANSWERS)]
    low, high = bounds_if_nothing_lies_above(layout, slot, exposed)
    assert low <= score <= high
    assert high - low < (1 << layout.bits) // 20


def digit_pairs(layout: SlotLayout, score: int, mask: Callable[[], int]) -> NDArray[np.float64]:
    """The digits of a hidden slot 1 and of what is above it, in [0, 1), shape (DRAWS, 2)."""
    bias = layout.same_in(range(layout.capacity + 1), layout.bias)
    rows = []
    for _ in range(DRAWS):
        digits = (score << layout.shift(1)) + mask() + bias
        rows.append([(digits >> layout.shift(slot)) % (1 << layout.bits) for slot in (1, 2)])
    return np.array(rows) / (1 << layout.bits)


def chi_square(pairs: NDArray[np.float64]) -> float:
    """How far pairs are from uniform over the square, 15 degrees of freedom."""
    cells, _, _ = np.histogram2d(pairs[:, 0], pairs[:, 1], bins=BINS, range=[(0, 1), (0, 1)])
    expected = len(pairs) / BINS**2
    return float(((cells - expected) ** 2).sum() / expected)


@pytest.mark.parametrize("metric", list(Metric))
@pytest.mark.parametrize("end", ["lowest", "highest"])
def test_a_hidden_digit_and_the_one_above_are_uniform_whatever_the_score(metric: Metric, end: str):
    layout = LAYOUTS[metric]
    score = layout.lowest if end == "lowest" else layout.highest
    assert chi_square(digit_pairs(layout, score, lambda: layout.mask([0, 1], [0]))) < CHI_SQUARE_LIMIT
    # The control: with the hidden slot masked alone the digit above is its carry.
    alone = digit_pairs(layout, score, lambda: masked_slots_only(layout, [0, 1], [0]))
    assert chi_square(alone) > 10 * CHI_SQUARE_LIMIT


@pytest.mark.parametrize("metric", list(Metric))
def test_an_empty_slot_looks_like_a_hidden_one_and_blurs_no_score(metric: Metric):
    layout = LAYOUTS[metric]
    bias = layout.same_in(range(layout.capacity + 1), layout.bias)
    digits = []
    for _ in range(ANSWERS):
        masked = layout.mask([0, 2], [0, 2]) + (5 << layout.shift(2)) + 3
        assert layout.read(masked, np.array([0, 2])) == [3, 5]
        digits.append([(masked + bias >> layout.shift(slot)) % (1 << layout.bits) for slot in (1, layout.capacity)])
    values = np.array(digits) / (1 << layout.bits)
    # 400 uniform numbers: seven standard deviations of their mean.
    assert np.abs(values.mean(axis=0) - 0.5).max() < 7 / np.sqrt(12 * ANSWERS)


@pytest.mark.parametrize("metric", list(Metric))
def test_one_answer_in_a_thousand_tells_whether_a_hidden_digit_carried_into_a_shown_one(metric: Metric):
    layout = LAYOUTS[metric]
    hidden = layout.highest << layout.shift(1)
    read = [layout.read(hidden + layout.mask([1, 2], [2]), np.array([2]))[0] for _ in range(DRAWS)]
    assert 0 <= min(read) <= max(read) < CARRY_BLUR
    # A blur of 0 to 1022 and a carry of 0 or 1: only the sums 0 and 1023 tell which.
    telling = sum(score in (0, CARRY_BLUR - 1) for score in read)
    # At most one in 1023 of 3200 on average, and more than 25 but once in 1e12 runs.
    assert telling <= 25
    assert len(set(read)) > CARRY_BLUR // 2
