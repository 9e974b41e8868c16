"""Where the local stack keeps its things: one folder, readable by its owner only."""

from dataclasses import dataclass
from pathlib import Path

from veilface.client.settings import CONNECTION_FILE
from veilface.common.errors import ConfigurationError, Reason


@dataclass(frozen=True, slots=True)
class StateLayout:
    """The files of a local stack.

    Attributes:
        root: The state folder, absolute.
    """

    root: Path

    @classmethod
    def of(cls, folder: Path) -> "StateLayout":
        """The layout of a folder, whether it exists or not."""
        return cls(folder.absolute())

    def create(self) -> None:
        """Make the folders; the state folder gets mode 0700.

        Raises:
            ConfigurationError: INVALID_SETTING if they cannot be made.
        """
        folders = (self.certificates, self.signing, self.trust, self.keys, self.matching, self.redis, self.logs)
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            # It may have been there before, open to others.
            self.root.chmod(0o700)
            for folder in folders:
                folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(
                Reason.INVALID_SETTING, f"the state folder {self.root} cannot be made: {error.strerror}"
            ) from error

    @property
    def certificates(self) -> Path:
        """The authority, and one certificate for each party."""
        return self.root / "certificates"

    @property
    def signing(self) -> Path:
        """The private keys that sign templates and tickets."""
        return self.root / "signing"

    @property
    def trust(self) -> Path:
        """Whose signatures each service accepts."""
        return self.root / "trust"

    @property
    def keys(self) -> Path:
        """What belongs to the key service alone: master key, database, audit log."""
        return self.root / "keys"

    @property
    def master_key(self) -> Path:
        """The master key that seals the secret keys."""
        return self.keys / "master.key"

    @property
    def audit_file(self) -> Path:
        """The key service's second copy of its audit log."""
        return self.keys / "audit.log"

    @property
    def matching(self) -> Path:
        """What belongs to the matching service alone: its record store."""
        return self.root / "matching"

    @property
    def redis(self) -> Path:
        """Redis's folder."""
        return self.root / "redis"

    @property
    def logs(self) -> Path:
        """One log file for each process."""
        return self.root / "logs"

    def log(self, name: str) -> Path:
        """The log of one process."""
        return self.logs / f"{name}.log"

    @property
    def connection(self) -> Path:
        """What clients read: addresses and certificates."""
        return self.root / CONNECTION_FILE

    @property
    def record(self) -> Path:
        """Which processes run now; there is none when the stack is down."""
        return self.root / "running.json"

    @property
    def lock(self) -> Path:
        """Held by the process that runs the stack."""
        return self.root / "lock"
