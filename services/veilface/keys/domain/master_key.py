"""The master key and where it comes from: a file, an environment variable, a command, or a provider.

A master key is 32 random bytes, given as one line of base64. A cloud KMS that keeps its master key to itself is reached
through a provider: a function of the operator's own package that answers a `sealing.KeyWrapper`.
"""

import base64
import binascii
import hashlib
import importlib
import os
import secrets
import stat
import subprocess
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from veilface.common.errors import AlreadyExistsError, ConfigurationError, DataLossError, Reason, VeilfaceError
from veilface.keys.domain.sealing import DATA_KEY_BYTES, NONCE_BYTES, TAG_BYTES, KeyWrapper
from veilface.keys.domain.secret_bytes import SecretBytes

MASTER_KEY_BYTES = 32
KEY_ID_BYTES = 8


class MasterKey(SecretBytes):
    """A master key held by this process. Wraps data keys with AES-256-GCM and random 96-bit nonces.

    A data key is wrapped once per sealing, far below the 2^32 messages that SP 800-38D allows for random nonces.

    Raises:
        ConfigurationError: MASTER_KEY_MISSING if `material` is not 32 bytes.
    """

    __slots__ = ("_key_id",)

    def __init__(self, material: bytearray) -> None:
        if len(material) != MASTER_KEY_BYTES:
            raise ConfigurationError(
                Reason.MASTER_KEY_MISSING, f"a master key has {MASTER_KEY_BYTES} bytes, this one {len(material)}"
            )
        self._key_id = hashlib.sha256(b"veilface master key id\x00" + material).digest()[:KEY_ID_BYTES]
        super().__init__(f"id {self._key_id.hex()}", material)

    @property
    def key_id(self) -> bytes:
        """The first 8 bytes of a domain-separated SHA-256 of the key."""
        return self._key_id

    def wrap(self, data_key: memoryview, aad: bytes) -> bytes:
        """See `KeyWrapper.wrap`: nonce, ciphertext and tag, 60 bytes."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        with self.exposed() as view:
            return nonce + AESGCM(view).encrypt(nonce, data_key, aad)

    def unwrap(self, wrapped: bytes, aad: bytes) -> bytearray:
        """See `KeyWrapper.unwrap`."""
        data_key = bytearray(DATA_KEY_BYTES)
        if len(wrapped) != NONCE_BYTES + DATA_KEY_BYTES + TAG_BYTES:
            raise _unwrap_failed()
        try:
            with self.exposed() as view:
                AESGCM(view).decrypt_into(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], aad, data_key)
        except InvalidTag as error:
            raise _unwrap_failed() from error
        return data_key


class MasterKeySource(Protocol):
    """Somewhere a master key can be read from."""

    def load(self) -> KeyWrapper:
        """Read it.

        Raises:
            ConfigurationError: MASTER_KEY_MISSING, with what to do about it.
        """
        ...


@dataclass(frozen=True, slots=True)
class FileSource:
    """A file that only its owner can read: mode 0600 or 0400.

    Kubernetes gives the files of a Secret to root and a group of the pod, with mode 0440 at best: that is accepted too.
    """

    path: Path

    def load(self) -> MasterKey:
        """See `MasterKeySource.load`."""
        try:
            # Without O_NONBLOCK a named pipe would hold up the start.
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise _missing(f"the master key file {self.path} cannot be read: {error.strerror}") from error
        try:
            # The open file is checked, not the path: nobody can exchange it in between.
            self._check(os.fstat(descriptor))
            return _parse(os.read(descriptor, 4096), f"the master key file {self.path}")
        finally:
            os.close(descriptor)

    def _check(self, status: os.stat_result) -> None:
        if not stat.S_ISREG(status.st_mode):
            raise _missing(f"{self.path} is not a regular file")
        mode = stat.S_IMODE(status.st_mode)
        own_group = status.st_uid == 0 and status.st_gid in {os.getegid(), *os.getgroups()} - {0}
        if mode & (0o037 if own_group else 0o077):
            raise _missing(f"{self.path} has mode {mode:04o}: others can read it. Run chmod 600 on it")


class EnvironmentSource:
    """An environment variable. It is taken out of the environment when it is read, so that no child inherits it.

    Args:
        variable: Its name.
        environment: The environment.
    """

    def __init__(self, variable: str, environment: MutableMapping[str, str]) -> None:
        self._variable = variable
        self._environment = environment
        self._master_key: MasterKey | None = None

    def load(self) -> MasterKey:
        """See `MasterKeySource.load`. Later calls answer the same object."""
        if self._master_key is None:
            text = self._environment.pop(self._variable, "")
            if not text:
                raise _missing(f"the environment variable {self._variable} is not set")
            self._master_key = _parse(text.encode(), f"the environment variable {self._variable}")
        return self._master_key


@dataclass(frozen=True, slots=True)
class CommandSource:
    """A command that prints the master key, for example a secret store's own client. No shell is involved."""

    arguments: Sequence[str]
    timeout_s: float = 30.0

    def load(self) -> MasterKey:
        """See `MasterKeySource.load`."""
        program = self.arguments[0]
        try:
            # The command line is the operator's own setting.
            finished = subprocess.run(  # noqa: S603
                self.arguments, stdin=subprocess.DEVNULL, capture_output=True, timeout=self.timeout_s, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise _missing(f"the master key command {program} did not run: {type(error).__name__}") from error
        if finished.returncode != 0:
            raise _missing(f"the master key command {program} failed with exit code {finished.returncode}")
        return _parse(finished.stdout, f"the output of the master key command {program}")


@dataclass(frozen=True, slots=True)
class ProviderSource:
    """A function without arguments that answers a `KeyWrapper`: for a KMS that keeps its master key to itself.

    Attributes:
        path: "package.module:function", of a package that is installed beside veilface.
    """

    path: str

    def load(self) -> KeyWrapper:
        """See `MasterKeySource.load`. Errors of the provider's own are shown by their class only."""
        module, _, function = self.path.partition(":")
        try:
            wrapper = getattr(importlib.import_module(module), function)()
        except VeilfaceError:
            raise
        except Exception as error:
            raise _missing(f"the master key provider {self.path} failed: {type(error).__name__}") from error
        if not isinstance(wrapper, KeyWrapper):
            raise _missing(f"the master key provider {self.path} answers no KeyWrapper: key_id, wrap and unwrap")
        return wrapper


def create_master_key_file(path: Path) -> None:
    """Make a new random master key in a new file with mode 0600, and its folder with mode 0700 if there is none.

    Services never call this: only a local stack or a person does, once. Losing the file means losing every key.

    Raises:
        AlreadyExistsError: KEY_EXISTS if the file exists. It is never overwritten.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError as error:
        raise AlreadyExistsError(Reason.KEY_EXISTS, f"there is a master key in {path} already") from error
    with os.fdopen(descriptor, "wb") as file:
        file.write(base64.b64encode(secrets.token_bytes(MASTER_KEY_BYTES)) + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _parse(text: bytes, where: str) -> MasterKey:
    try:
        material = bytearray(base64.b64decode(text.strip(), validate=True))
    except (binascii.Error, ValueError) as error:
        raise _missing(f"{where} is not base64") from error
    if len(material) != MASTER_KEY_BYTES:
        raise _missing(f"{where} holds {len(material)} bytes, expected {MASTER_KEY_BYTES} in base64")
    return MasterKey(material)


def _missing(message: str) -> ConfigurationError:
    return ConfigurationError(Reason.MASTER_KEY_MISSING, message)


def _unwrap_failed() -> DataLossError:
    return DataLossError(
        Reason.SEAL_BROKEN, "a data key cannot be unwrapped: it was changed, moved, or wrapped by another master key"
    )
