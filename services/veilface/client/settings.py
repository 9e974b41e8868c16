"""Where the three services are and as whom the client calls them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from pydantic import Field

from veilface.common.errors import ConfigurationError, Reason
from veilface.common.files import read_setting_file, write_private_file
from veilface.common.identities import OPERATOR_IDENTITY
from veilface.common.settings import ProcessSettings
from veilface.common.signing import Signer

CONNECTION_FILE = "client.json"
DEFAULT_STATE = Path(".veilface")
OPERATOR_SIGNING_KEY = Path("signing") / "operator.key"


class ClientSettings(ProcessSettings):
    """What a client needs; from the environment (prefix VEILFACE_) or from the state folder of a local stack."""

    embedding_service: str = Field(
        min_length=1, description="the embedding service, for example dns:///embedding.example:7001"
    )
    key_service: str = Field(min_length=1, description="the key service, for example dns:///keys.example:7002")
    matching_service: str = Field(
        min_length=1, description="the matching service, for example dns:///matching.example:7003"
    )
    timeout_s: float = Field(120.0, gt=0, le=3600, description="seconds that one call may take, up to 3600")
    import_signing_key: Path | None = Field(
        None, description="the PEM file of the operator's Ed25519 key that signs imported segments; imports need it"
    )

    @classmethod
    def from_state(cls, state: Path, identity: str = "client") -> Self:
        """Read what `veilface up` wrote into its state folder.

        Args:
            state: The folder.
            identity: "client" for recognition, "operator" to create keys and to import.

        Raises:
            ConfigurationError: INVALID_SETTING if there is no local stack in the folder.
        """
        path = state / CONNECTION_FILE
        if not path.exists():
            raise ConfigurationError(
                Reason.INVALID_SETTING,
                f"there is no local stack in {state}: run 'veilface up', or name its folder with --state",
            )
        expected = "the addresses of a local stack"
        try:
            document = json.loads(read_setting_file(path, expected))
            certificates = state / str(document["certificates"])
            return cls(
                embedding_service=document["embedding_service"],
                key_service=document["key_service"],
                matching_service=document["matching_service"],
                tls_certificate=certificates / f"{identity}.crt",
                tls_private_key=certificates / f"{identity}.key",
                tls_ca=certificates / "ca.crt",
                insecure=False,
                import_signing_key=state / OPERATOR_SIGNING_KEY if identity == "operator" else None,
            )
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigurationError(
                Reason.INVALID_SETTING, f"{path} does not hold {expected}: delete it and run 'veilface up' again"
            ) from error

    @property
    def addresses(self) -> Mapping[str, str]:
        """Where "embedding", "keys" and "matching" are."""
        return {"embedding": self.embedding_service, "keys": self.key_service, "matching": self.matching_service}

    def import_signer(self) -> Signer:
        """The operator's signing key. Raises ConfigurationError INVALID_SETTING if none is set or it cannot be used."""
        if self.import_signing_key is None:
            raise ConfigurationError(
                Reason.INVALID_SETTING,
                "VEILFACE_IMPORT_SIGNING_KEY is not set; expected the PEM file of the operator's signing key, whose "
                "public half the matching service trusts",
            )
        return Signer.from_file(self.import_signing_key, OPERATOR_IDENTITY)


def save_connection(state: Path, addresses: Mapping[str, str], certificates: str) -> None:
    """Write what `ClientSettings.from_state` reads.

    Args:
        state: The state folder.
        addresses: Of "embedding", "keys" and "matching".
        certificates: The name of the folder of certificates in it.
    """
    document = {
        "embedding_service": addresses["embedding"],
        "key_service": addresses["keys"],
        "matching_service": addresses["matching"],
        "certificates": certificates,
    }
    write_private_file(state / CONNECTION_FILE, (json.dumps(document, indent=2) + "\n").encode())
