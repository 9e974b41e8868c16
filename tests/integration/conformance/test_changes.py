"""Searches go on, and find who is there, while others are enrolled and erased."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest
from tests.integration.conformance.conftest import System

from veilface.crypto.contract import Metric, TemplateUse

SEARCHES = 10


@pytest.mark.parametrize("metric", Metric)
def test_a_search_is_right_whoever_comes_and_goes_meanwhile(system: System, metric: Metric) -> None:
    gallery = f"changing-{system.case.profile}-{metric}"
    system.client.galleries.create(gallery, system.key, metric=metric)
    stop = Event()

    def template(person: int, use: TemplateUse) -> object:
        return system.forger.template_of(system.embeddings[person], use, metric=metric)

    def come_and_go() -> int:
        rounds = 0
        while not stop.is_set():
            # The same face as the one that is searched for: the nearest that another template can be.
            name = f"twin-{rounds}"
            made = system.client.enrollments.create(gallery, template(0, TemplateUse.REFERENCE), name, request_id=name)
            system.client.enrollments.delete(made.name)
            rounds += 1
        return rounds

    for person in range(len(system.embeddings)):
        reference = template(person, TemplateUse.REFERENCE)
        system.client.enrollments.create(gallery, reference, f"person-{person}", request_id=f"person-{person}")
    probe = template(0, system.case.probe_use)
    with ThreadPoolExecutor(max_workers=1) as pool:
        changing = pool.submit(come_and_go)
        try:
            answers = [system.client.identify_template(gallery, probe, top_k=10) for _ in range(SEARCHES)]
        finally:
            stop.set()
        rounds = changing.result(timeout=60)
    system.client.galleries.delete(gallery)
    assert rounds > 0
    for answer in answers:
        found = {candidate.subject for candidate in answer.candidates}
        assert "person-0" in found
        assert all(subject == "person-0" or subject.startswith("twin-") for subject in found)
