"""The outermost frame of a service process."""

import asyncio
import sys
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from veilface.common.errors import ConfigurationError

EXIT_CONFIGURATION = 78
"""sysexits.h EX_CONFIG: starting again without a change will not help."""


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> int:
    """Run a service to its end and answer the exit code: 0, or 78 with one plain line for a ConfigurationError.

    The error may come out of a task group.
    """
    exit_code = 0
    try:
        asyncio.run(main())
    except* ConfigurationError as group:
        for error in _leaves(group):
            print(f"veilface: {error.reason}: {error.message}", file=sys.stderr)
        exit_code = EXIT_CONFIGURATION
    return exit_code


def _leaves(group: BaseExceptionGroup[ConfigurationError]) -> Iterator[ConfigurationError]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error
