"""Whatever is killed, restarted or flushed between enrollment and search, the answers stay."""

import time
from collections.abc import Callable

import pytest
import redis

from tests.e2e.conftest import Templates
from tests.faces import LabelledFaces
from veilface.cli.local_stack.stack import LocalStack
from veilface.client import VeilfaceClient
from veilface.client.results import Identification

PEOPLE = 4
FILL_TIMEOUT_S = 60


def kill_and_restart(name: str) -> Callable[[LocalStack], None]:
    def disturb(stack: LocalStack) -> None:
        stack.process(name).kill()
        stack.restart(name)

    return disturb


def flush_redis(stack: LocalStack) -> None:
    with cache(stack) as connection:
        wait_until_filled(connection)
        connection.flushall()


def flush_redis_and_restart_matching(stack: LocalStack) -> None:
    flush_redis(stack)
    kill_and_restart("matching")(stack)


def kill_redis(stack: LocalStack) -> None:
    stack.process("redis").kill()


def cache(stack: LocalStack) -> redis.Redis:
    return redis.Redis(unix_socket_path=str(stack.redis_socket))


def wait_until_filled(connection: redis.Redis) -> None:
    deadline_s = time.monotonic() + FILL_TIMEOUT_S
    while connection.dbsize() == 0:
        assert time.monotonic() < deadline_s, "nothing was put into Redis, so flushing it shows nothing"
        time.sleep(0.1)


def enroll(client: VeilfaceClient, gallery: str, faces: LabelledFaces, templates: Templates) -> None:
    client.galleries.create(gallery, templates.key)
    for number, photographs in enumerate(faces.people[-PEOPLE:]):
        client.enrollments.create(gallery, templates.fresh(photographs[0]), f"person-{number}", request_id=f"{number}")


def ask(client: VeilfaceClient, gallery: str, faces: LabelledFaces, templates: Templates) -> list[Identification]:
    return [
        client.identify_template(gallery, templates.probes[photographs[-1]], top_k=PEOPLE)
        for photographs in faces.people[-PEOPLE:]
    ]


def verify(client: VeilfaceClient, gallery: str, faces: LabelledFaces, templates: Templates) -> list[bool]:
    return [
        client.verify_template(gallery, f"person-{number}", templates.probes[photographs[-1]]).is_match
        for number, photographs in enumerate(faces.people[-PEOPLE:])
    ]


@pytest.mark.parametrize(
    "disturb",
    [
        pytest.param(kill_and_restart("embedding"), id="embedding-killed"),
        pytest.param(kill_and_restart("keys"), id="keys-killed"),
        pytest.param(kill_and_restart("matching"), id="matching-killed"),
        pytest.param(kill_and_restart("redis"), id="redis-killed"),
        pytest.param(flush_redis, id="redis-flushed"),
        pytest.param(flush_redis_and_restart_matching, id="redis-flushed-and-matching-killed"),
    ],
)
def test_answers_stay_the_same(
    stack: LocalStack,
    faces: LabelledFaces,
    templates: Templates,
    request: pytest.FixtureRequest,
    disturb: Callable[[LocalStack], None],
) -> None:
    gallery = request.node.callspec.id
    with stack.client() as client:
        enroll(client, gallery, faces, templates)
        before = [answer.candidates for answer in ask(client, gallery, faces, templates)]
        verified = verify(client, gallery, faces, templates)
    disturb(stack)
    with stack.client() as client:
        assert [answer.candidates for answer in ask(client, gallery, faces, templates)] == before
        assert verify(client, gallery, faces, templates) == verified
        assert client.galleries.get(gallery).enrollment_count == min(PEOPLE, len(faces.people))
    assert any(before)
    assert any(verified)


def test_answers_do_not_need_redis(stack: LocalStack, faces: LabelledFaces, templates: Templates) -> None:
    gallery = "without-redis"
    with stack.client() as client:
        enroll(client, gallery, faces, templates)
        before = [answer.candidates for answer in ask(client, gallery, faces, templates)]
        kill_redis(stack)
        try:
            stack.process("matching").kill()
            stack.restart("matching")
            with stack.client() as later:
                assert [answer.candidates for answer in ask(later, gallery, faces, templates)] == before
        finally:
            stack.restart("redis")
    assert any(before)


def test_an_enrollment_that_was_answered_survives_a_kill_at_once(
    stack: LocalStack, faces: LabelledFaces, templates: Templates
) -> None:
    gallery = "killed-at-once"
    reference = templates.fresh(faces.people[-1][0])
    with stack.client() as client:
        client.galleries.create(gallery, templates.key)
        client.enrollments.create(gallery, reference, "ada", request_id="once")
    kill_and_restart("matching")(stack)
    with stack.client() as client:
        (enrollment,) = client.enrollments.list(gallery)
        assert enrollment.subject == "ada"
        # A retry of the same request is answered with the same enrollment.
        again = client.enrollments.create(gallery, reference, "ada", request_id="once")
        assert again == enrollment
