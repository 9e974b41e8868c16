"""Questions about a gallery under its current key version, which may change while they are asked."""

from collections.abc import Callable
from typing import Final, TypeVar

from veilface.client.galleries import Gallery
from veilface.common.errors import Reason, VeilfaceError

T = TypeVar("T")

# What the services say about a template or a score of the version that the gallery has left.
_LEFT_BEHIND: Final = frozenset(
    (Reason.WRONG_KEY_VERSION, Reason.KEY_DISABLED, Reason.KEY_DESTROYED, Reason.KEY_VERSION_TOO_OLD)
)


def ask_current(describe: Callable[[], Gallery], ask: Callable[[Gallery], T], known: Gallery | None = None) -> T:
    """Ask under the gallery's key version; once more if it switched to another one meanwhile.

    Args:
        describe: Looks the gallery up.
        ask: Makes templates for the gallery as described, and does the rest with them.
        known: The gallery when it was looked up last, if it was.
    """
    gallery = known or describe()
    try:
        return ask(gallery)
    except VeilfaceError as error:
        if error.reason is Reason.GALLERY_CHANGED:
            return ask(describe())
        if error.reason not in _LEFT_BEHIND:
            raise
        current = describe()
        if current.key_version == gallery.key_version:
            raise
    return ask(current)
