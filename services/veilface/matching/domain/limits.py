"""Bounds that the protos promise, and those that the machine sets."""

from typing import Final

MAX_ENROLLMENTS_PER_SUBJECT: Final = 64
MAX_LABELS: Final = 16
MAX_LABEL_KEY_LENGTH: Final = 63
MAX_LABEL_VALUE_LENGTH: Final = 256
MAX_REQUEST_ID_LENGTH: Final = 64
MAX_PAGE_SIZE: Final = 1000
DEFAULT_PAGE_SIZE: Final = 100
MAX_KNOWN_ETAGS: Final = 4096
MAX_IMPORT_PIECE_BYTES: Final = 1 << 20
MAPPED_SEGMENTS: Final = 8192
"""Of imported segments, and of those in the local folder: each holds a file descriptor."""
