"""How a service process ends."""

import asyncio

import pytest

from veilface.common.errors import ConfigurationError, Reason
from veilface.common.process import EXIT_CONFIGURATION, run


async def fail():
    raise ConfigurationError(Reason.INVALID_SETTING, "VEILFACE_LISTEN is in use")


async def fail_in_nested_groups():
    async with asyncio.TaskGroup() as outer:
        outer.create_task(asyncio.sleep(3600))
        async with asyncio.TaskGroup() as inner:
            inner.create_task(fail())


async def do_nothing():
    pass


async def break_in_a_group():
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(asyncio.sleep(3600))
        raise ZeroDivisionError


@pytest.mark.parametrize("main", [fail, fail_in_nested_groups])
def test_a_configuration_error_is_one_plain_line(main, capsys):
    assert run(main) == EXIT_CONFIGURATION
    assert capsys.readouterr().err == "veilface: INVALID_SETTING: VEILFACE_LISTEN is in use\n"


def test_a_service_that_ends_by_itself_has_no_error(capsys):
    assert run(do_nothing) == 0
    assert capsys.readouterr().err == ""


def test_an_unforeseen_error_is_not_hidden():
    with pytest.raises(ExceptionGroup) as caught:
        run(break_in_a_group)
    assert isinstance(caught.value.exceptions[0], ZeroDivisionError)
