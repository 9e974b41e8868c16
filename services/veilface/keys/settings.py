"""The settings of the key service, from environment variables that start with VEILFACE_."""

import os
import shlex
from datetime import timedelta
from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, field_validator, model_validator

from veilface.common.settings import MEBIBYTE, ServerSettings
from veilface.keys.domain.master_key import (
    CommandSource,
    EnvironmentSource,
    FileSource,
    MasterKeySource,
    ProviderSource,
)
from veilface.keys.domain.tickets import TicketRules

MASTER_KEY_VARIABLE = "VEILFACE_MASTER_KEY"


class KeysSettings(ServerSettings):
    """What the key service needs."""

    database_url: SecretStr = Field(
        description="the key service's own database: sqlite:////folder/keys.db or postgresql+psycopg://user@host/name"
    )
    audit_file: Path = Field(description="the file that this replica appends its audit records to")
    trust_store: Path = Field(
        description="the JSON file of the public keys that sign templates and scores, by identity"
    )
    signing_key: Path | None = Field(
        None, description="the PEM file of the Ed25519 key that signs re-encrypted templates; not set: none are made"
    )
    master_key_file: Path | None = Field(
        None, description="the file with the master key: 32 bytes in base64, readable by its owner only"
    )
    # Only whether it is given: settings live as long as the process, and the source reads the variable itself.
    master_key: SecretStr | None = Field(None, description="the master key itself: 32 bytes in base64")
    master_key_command: str | None = Field(
        None, min_length=1, description="a command that prints the master key: 32 bytes in base64; no shell runs it"
    )
    master_key_provider: str | None = Field(
        None,
        pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$",
        description='"package.module:function" of an installed package: answers a KeyWrapper that asks a KMS, see '
        "veilface.keys.domain.sealing",
    )
    access_policy: Path | None = Field(
        None, description="the JSON file that says which identities may call which methods; not set: the built-in one"
    )
    threshold_file: Path | None = Field(
        None, description="a JSON list of thresholds that are added to the published ones, or replace them"
    )
    workers: int = Field(4, ge=1, le=256, description="threads for cryptography and the database, 1 to 256")
    queue_size: int = Field(256, ge=0, le=100_000, description="how many calls may wait for a thread")
    open_keys: int = Field(8, ge=1, le=1024, description="how many key versions stay unsealed in memory, 1 to 1024")
    longest_ticket_s: float = Field(
        3600.0, ge=1, le=86_400, description="seconds for which a matcher's ticket may be valid, 1 to 86400"
    )
    largest_answer_bytes: int = Field(
        1024 * MEBIBYTE, ge=MEBIBYTE, description="bytes of encrypted scores that one decision may take in"
    )
    open_answers_bytes: int = Field(
        2048 * MEBIBYTE,
        ge=MEBIBYTE,
        description="bytes of encrypted scores that all searches together may hold while their batches arrive",
    )
    longest_stream_s: float = Field(
        300.0, ge=0.1, le=3600, description="seconds that the batches of one search may take to arrive"
    )
    largest_segment_bytes: int = Field(
        1024 * MEBIBYTE, ge=MEBIBYTE, description="bytes of a packed segment that re-encryption takes in"
    )
    maintenance_s: float = Field(
        30.0, ge=0.1, le=3600, description="seconds between sweeps: destroying what is due, forgetting what expired"
    )

    @field_validator("master_key", mode="before")
    @classmethod
    def _forget_master_key(cls, value: object) -> str | None:
        return "given" if value else None

    @model_validator(mode="after")
    def _check_master_key(self) -> Self:
        sources = (self.master_key_file, self.master_key, self.master_key_command, self.master_key_provider)
        if sum(source is not None for source in sources) > 1:
            raise ValueError(
                "several master keys: set only one of VEILFACE_MASTER_KEY_FILE, VEILFACE_MASTER_KEY, "
                "VEILFACE_MASTER_KEY_COMMAND and VEILFACE_MASTER_KEY_PROVIDER"
            )
        return self

    @property
    def master_key_source(self) -> MasterKeySource:
        """Where the master key comes from. Without any setting it is an environment variable that is missing."""
        if self.master_key_file is not None:
            return FileSource(self.master_key_file)
        if self.master_key_command is not None:
            return CommandSource(tuple(shlex.split(self.master_key_command)))
        if self.master_key_provider is not None:
            return ProviderSource(self.master_key_provider)
        return EnvironmentSource(MASTER_KEY_VARIABLE, os.environ)

    @property
    def ticket_rules(self) -> TicketRules:
        """What tickets must satisfy."""
        return TicketRules(timedelta(seconds=self.longest_ticket_s), self.largest_answer_bytes)
