"""1:N on photographs: one of each person enrolled, the others searched for."""

from pathlib import Path

import pytest

from tests.e2e.conftest import TOLERANCE, Plaintext, Templates
from tests.faces import LabelledFaces
from veilface.client import VeilfaceClient

GALLERY = "everybody"


def enroll_one_of_each(client: VeilfaceClient, faces: LabelledFaces, templates: Templates) -> dict[str, Path]:
    """Enroll the first photograph of each person; answers it by subject id."""
    client.galleries.create(GALLERY, templates.key)
    enrolled = {}
    for number, photographs in enumerate(faces.people):
        subject = f"person-{number}"
        client.enrollments.create(GALLERY, templates.fresh(photographs[0]), subject, request_id=subject)
        enrolled[subject] = photographs[0]
    return enrolled


def test_rank_1_is_the_plaintext_rank_1(
    client: VeilfaceClient,
    faces: LabelledFaces,
    templates: Templates,
    plaintext: Plaintext,
    capsys: pytest.CaptureFixture[str],
) -> None:
    enrolled = enroll_one_of_each(client, faces, templates)
    found_right = expected_right = searches = 0
    for number, photographs in enumerate(faces.people):
        for probe in photographs[1:]:
            answer = client.identify_template(GALLERY, templates.probes[probe], top_k=1)
            found = answer.candidates[0].subject if answer.candidates else None
            cosines = {subject: plaintext.cosine(probe, path) for subject, path in enrolled.items()}
            best = max(cosines, key=cosines.__getitem__)
            expected = best if cosines[best] >= plaintext.threshold else None
            runner_up = max(cosine for subject, cosine in cosines.items() if subject != best)
            is_close = min(abs(cosines[best] - plaintext.threshold), cosines[best] - runner_up) <= TOLERANCE
            assert found == expected or is_close
            assert answer.score_count == len(enrolled)
            searches += 1
            found_right += found == f"person-{number}"
            expected_right += expected == f"person-{number}"
    with capsys.disabled():
        print(
            f"\n{faces.origin}: rank-1 rate {found_right / searches:.4f} encrypted, "
            f"{expected_right / searches:.4f} in plaintext, {searches} searches among {len(enrolled)} people"
        )
    assert searches > 0
    assert found_right > 0
