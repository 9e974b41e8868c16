"""Page tokens: opaque to callers, and refused unless this service gave them out for the same list."""

import base64
import binascii
import hashlib
import hmac
from typing import Final

from veilface.common.errors import InvalidArgumentError, Reason
from veilface.matching.domain.limits import DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE

_TAG_BYTES: Final = 16


class PageTokens:
    """Makes and checks page tokens.

    Args:
        key: Shared by all replicas on one record store, 32 bytes.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def encode(self, query: tuple[str, ...], next_key: str | None) -> str:
        """The token for the items behind `next_key` of the list that `query` describes; empty on the last page."""
        if next_key is None:
            return ""
        key_bytes = next_key.encode()
        return base64.urlsafe_b64encode(self._tag(query, key_bytes) + key_bytes).decode()

    def decode(self, query: tuple[str, ...], token: str) -> str | None:
        """Behind which key to go on; None for the empty token of the first page.

        Raises:
            InvalidArgumentError: INVALID_PAGE_TOKEN for a token that was not made for this list.
        """
        if not token:
            return None
        try:
            decoded = base64.b64decode(token.encode("ascii"), altchars=b"-_", validate=True)
        except (UnicodeEncodeError, binascii.Error) as error:
            raise _invalid() from error
        tag, key_bytes = decoded[:_TAG_BYTES], decoded[_TAG_BYTES:]
        if not hmac.compare_digest(tag, self._tag(query, key_bytes)):
            raise _invalid()
        return key_bytes.decode()

    def _tag(self, query: tuple[str, ...], key_bytes: bytes) -> bytes:
        mac = hmac.new(self._key, digestmod=hashlib.sha256)
        for part in (*(text.encode() for text in query), key_bytes):
            mac.update(len(part).to_bytes(4, "big"))
            mac.update(part)
        return mac.digest()[:_TAG_BYTES]


def page_size(requested: int) -> int:
    """The number of items on a page. Raises InvalidArgumentError INVALID_FIELD above the maximum."""
    if requested > MAX_PAGE_SIZE:
        raise InvalidArgumentError(
            Reason.INVALID_FIELD, f"page_size is {requested}; at most {MAX_PAGE_SIZE}, 0 selects {DEFAULT_PAGE_SIZE}"
        )
    return requested or DEFAULT_PAGE_SIZE


def _invalid() -> InvalidArgumentError:
    return InvalidArgumentError(
        Reason.INVALID_PAGE_TOKEN,
        "page_token was not given out for this list; take next_page_token of the page before, or leave it empty",
    )
