"""Every error that veilface raises on purpose, as one tree.

A class says what kind of trouble it is and therefore which gRPC status a caller gets; a `Reason` says exactly which
trouble, for machines; the message says what was wrong, what was expected and what to do, for people. Messages never
carry images, embeddings, scores or key bytes.
"""

from enum import StrEnum, auto


class Reason(StrEnum):
    """Stable reason codes, sent as `google.rpc.ErrorInfo.reason`."""

    @staticmethod
    def _generate_next_value_(name: str, start: int, count: int, last_values: list[str]) -> str:
        return name

    # Requests
    MISSING_FIELD = auto()
    INVALID_FIELD = auto()
    INVALID_NAME = auto()
    INVALID_PAGE_TOKEN = auto()
    STREAM_PROTOCOL = auto()
    # Images
    IMAGE_EMPTY = auto()
    IMAGE_TOO_LARGE = auto()
    IMAGE_FORMAT = auto()
    IMAGE_TRUNCATED = auto()
    IMAGE_CORRUPT = auto()
    IMAGE_DIMENSIONS = auto()
    NO_FACE = auto()
    SEVERAL_FACES = auto()
    UNKNOWN_MODEL = auto()
    WEIGHTS_MISSING = auto()
    WEIGHTS_CORRUPT = auto()
    # Cryptography
    UNKNOWN_PROFILE = auto()
    INSECURE_PARAMETERS = auto()
    MALFORMED_CIPHERTEXT = auto()
    MALFORMED_KEY = auto()
    WRONG_PARAMETERS = auto()
    WRONG_FORMAT = auto()
    WRONG_LEVEL = auto()
    WRONG_SCALE = auto()
    WRONG_SIZE = auto()
    WRONG_DIMENSION = auto()
    WRONG_KEY_VERSION = auto()
    WRONG_MODEL = auto()
    WRONG_METRIC = auto()
    WRONG_USE = auto()
    EMBEDDING_OUT_OF_RANGE = auto()
    UNSUPPORTED_BY_SCHEME = auto()
    PACKAGE_MISSING = auto()
    # Templates and tickets
    UNTRUSTED_SIGNER = auto()
    BAD_SIGNATURE = auto()
    DIGEST_MISMATCH = auto()
    TICKET_EXPIRED = auto()
    TICKET_REPLAYED = auto()
    TICKET_INCOMPLETE = auto()
    WRONG_CIRCUIT = auto()
    # Keys
    KEY_NOT_FOUND = auto()
    KEY_EXISTS = auto()
    KEY_DISABLED = auto()
    KEY_DESTROYED = auto()
    KEY_VERSION_TOO_OLD = auto()
    KEY_CHANGED = auto()
    UNSUPPORTED_BY_KEY = auto()
    SEAL_BROKEN = auto()
    MASTER_KEY_MISSING = auto()
    UNKNOWN_OPERATING_POINT = auto()
    QUOTA_EXCEEDED = auto()
    POLICY_DENIED = auto()
    AUDIT_BROKEN = auto()
    # Galleries
    GALLERY_NOT_FOUND = auto()
    GALLERY_EXISTS = auto()
    ENROLLMENT_NOT_FOUND = auto()
    SUBJECT_NOT_FOUND = auto()
    SUBJECT_FULL = auto()
    GALLERY_CHANGED = auto()
    GALLERY_MOVING = auto()
    REQUEST_ID_REUSED = auto()
    TEMPLATE_ENROLLED = auto()
    # Service
    IDENTITY_MISSING = auto()
    IDENTITY_DENIED = auto()
    OVERLOADED = auto()
    NOT_READY = auto()
    DEPENDENCY_UNAVAILABLE = auto()
    INVALID_SETTING = auto()
    DEADLINE_EXCEEDED = auto()
    CANCELLED = auto()
    TRANSPORT = auto()
    DATA_LOSS = auto()
    INTERNAL = auto()
    # Local stack
    STACK_RUNNING = auto()
    STACK_NOT_RUNNING = auto()
    STACK_FAILED = auto()


class VeilfaceError(Exception):
    """The root of the tree.

    Args:
        reason: The stable code.
        message: What was wrong, what was expected, what to do. Shown to the caller.
    """

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class InvalidArgumentError(VeilfaceError):
    """The request is wrong whatever the state of the server."""


class InvalidCiphertextError(InvalidArgumentError):
    """Bytes that are not a ciphertext of the expected parameters, level, scale and size."""


class FailedPreconditionError(VeilfaceError):
    """The request is well formed, but the state of the world does not allow it."""


class NotFoundError(VeilfaceError):
    """The named resource does not exist."""


class AlreadyExistsError(VeilfaceError):
    """The resource to create exists already."""


class UnauthenticatedError(VeilfaceError):
    """The caller did not prove an identity."""


class PermissionDeniedError(VeilfaceError):
    """The caller, or who signed what it carries, may not do this."""


class ResourceExhaustedError(VeilfaceError):
    """A limit was reached: a quota, a size or a queue. Worth another try later, or with less."""


class UnavailableError(VeilfaceError):
    """The service, or one that it depends on, cannot answer now. Worth another try."""


class DataLossError(VeilfaceError):
    """Stored bytes are not what was stored: a broken seal or a wrong digest."""


class ConfigurationError(VeilfaceError):
    """A setting, file or key that the process needs at start is missing or wrong. The process does not start."""
