"""The outermost frame of a service process."""

import asyncio
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from veilface.common.errors import ConfigurationError

EXIT_CONFIGURATION = 78
"""sysexits.h EX_CONFIG: starting again without a change will not help."""


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> int:
    """Run a service to its end and answer the exit code: 0, or 78 with one plain line for a ConfigurationError."""
    try:
        asyncio.run(main())
    except ConfigurationError as error:
        print(f"veilface: {error.reason}: {error.message}", file=sys.stderr)
        return EXIT_CONFIGURATION
    return 0
