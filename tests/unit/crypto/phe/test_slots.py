from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from veilface.common.errors import InvalidArgumentError, InvalidCiphertextError, Reason
from veilface.crypto.contract import Metric, Scheme, TemplateSpace
from veilface.crypto.public.phe.profiles import PROFILES, phe_profile
from veilface.crypto.public.phe.slots import CARRY_BLUR, SlotLayout, slot_layout

LAYOUTS = {metric: slot_layout(phe_profile("paillier-112"), TemplateSpace(512, metric)) for metric in Metric}


def packed(scores: list[int], layout: SlotLayout) -> int:
    return sum(score << layout.shift(slot) for slot, score in enumerate(scores))


@pytest.mark.parametrize("metric", list(Metric))
@given(data=st.data())
def test_scores_are_read_back_whatever_their_signs(metric: Metric, data: st.DataObject):
    layout = LAYOUTS[metric]
    score = st.integers(layout.lowest, layout.highest)
    scores = data.draw(st.lists(score, min_size=layout.capacity, max_size=layout.capacity))
    assert layout.read(packed(scores, layout), np.arange(layout.capacity)) == scores


def test_2048_bits_hold_87_cosine_scores_and_a_guard_for_every_dimension():
    for dimension in (1, 128, 512, 4096):
        layout = slot_layout(phe_profile("paillier-112"), TemplateSpace(dimension))
        assert (layout.bits, layout.capacity) == (23, 87)


def test_every_profile_packs():
    capacities = {
        name: slot_layout(profile, TemplateSpace(4096, metric)).capacity
        for scheme in PROFILES
        for name, profile in PROFILES[scheme].items()
        for metric in Metric
    }
    assert min(capacities.values()) == capacities["okamoto-uchiyama-80"] == 20


@pytest.mark.parametrize("metric", list(Metric))
def test_slots_one_bit_too_narrow_are_refused_because_scores_would_run_into_each_other(metric: Metric):
    layout = LAYOUTS[metric]
    with pytest.raises(InvalidArgumentError) as refused:
        replace(layout, bits=layout.bits - 1)
    assert refused.value.reason is Reason.WRONG_PARAMETERS
    # The control: without the guard the neighbour's score changes.
    unguarded = [layout.highest, 5]
    width = layout.bits - 1
    digits = sum((score + layout.bias // 2) << width * slot for slot, score in enumerate(unguarded))
    assert (digits >> width) - layout.bias // 2 != unguarded[1]


def test_more_slots_than_the_plaintext_holds_are_refused():
    layout = LAYOUTS[Metric.COSINE]
    with pytest.raises(InvalidArgumentError):
        replace(layout, capacity=layout.capacity + 1)


def test_a_modulus_too_small_for_one_score_is_refused():
    tiny = replace(phe_profile("paillier-112"), key_bits=20)
    with pytest.raises(InvalidArgumentError):
        slot_layout(tiny, TemplateSpace(512))


@pytest.mark.parametrize("metric", list(Metric))
def test_hidden_slots_are_uniform_and_shown_ones_stay_right(metric: Metric):
    layout = LAYOUTS[metric]
    scores = [layout.highest, layout.lowest, 7, layout.highest, 9, layout.highest]
    hidden, shown = [1, 3, 5], [0, 2, 4]
    digits = {slot: [] for slot in hidden}
    for _ in range(300):
        masked = packed(scores, layout) + layout.mask([*shown, *hidden], shown)
        read = layout.read(masked, np.array(shown))
        assert read[0] == scores[0]
        assert 0 <= read[1] - 7 <= CARRY_BLUR
        assert 0 <= read[2] - 9 <= CARRY_BLUR
        biased = masked + layout.same_in(range(layout.capacity + 1), layout.bias)
        for slot in hidden:
            digits[slot].append((biased >> layout.shift(slot)) % (1 << layout.bits) / (1 << layout.bits))
    for values in digits.values():
        # 300 uniform numbers: the mean is within 0.1 of 1/2 but for 6 standard deviations.
        assert abs(np.mean(values) - 0.5) < 0.1
        assert np.std(values) > 0.2


def test_a_plaintext_that_is_no_sum_of_scores_is_refused():
    layout = LAYOUTS[Metric.SQUARED_EUCLIDEAN]
    for plaintext in (-1, 2 << layout.shift(layout.capacity + 1), layout.highest + 2 * CARRY_BLUR):
        with pytest.raises(InvalidCiphertextError) as refused:
            layout.read(plaintext, np.array([0]))
        assert refused.value.reason is Reason.MALFORMED_CIPHERTEXT
    assert layout.read(layout.highest, np.array([0])) == [layout.highest]
    with pytest.raises(InvalidCiphertextError):
        layout.read_single(layout.highest + 1)


def test_damgard_jurik_packs_twice_as_many_templates_as_paillier():
    capacity = {
        scheme: slot_layout(phe_profile(f"{scheme.value}-112"), TemplateSpace(512)).capacity
        for scheme in Scheme
        if scheme in PROFILES
    }
    assert capacity == {Scheme.PAILLIER: 87, Scheme.DAMGARD_JURIK: 176, Scheme.OKAMOTO_UCHIYAMA: 43}
