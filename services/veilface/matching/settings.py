"""The settings of the matching service, from environment variables that start with VEILFACE_."""

import os
from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, model_validator

from veilface.common.settings import MEBIBYTE, ServerSettings
from veilface.matching.peers.addresses import PeerAddresses


class MatchingSettings(ServerSettings):
    """What the matching service needs."""

    database_url: SecretStr = Field(
        description="the record store: sqlite:////folder/matching.db or postgresql+psycopg://user@host/name"
    )
    redis_url: SecretStr | None = Field(
        None,
        description="the cache that replicas share: unix:///path, redis://host or rediss://user:password@host; "
        "not set: none",
    )
    redis_ca: Path | None = Field(
        None, description="the PEM file of the authorities that rediss:// accepts; not set: those of the machine"
    )
    redis_certificate: Path | None = Field(None, description="the PEM file of the certificate to show to rediss://")
    redis_private_key: Path | None = Field(None, description="the PEM file of that certificate's private key")
    redis_timeout_s: float = Field(
        2.0, gt=0, le=60, description="seconds that Redis may take to connect or to answer, more than 0, at most 60"
    )
    cache_ttl_s: int = Field(
        86_400, ge=60, le=31_536_000, description="seconds that an unused entry stays in Redis, from 60"
    )
    segment_folder: Path | None = Field(
        None,
        description="the folder for packed segments on this machine's disk; not set: beside a SQLite record store, "
        "else none",
    )
    blob_folder: Path | None = Field(
        None,
        description="the folder for imported segments, which all replicas share; not set: beside a SQLite record "
        "store, else nothing can be imported",
    )
    segment_memory_bytes: int = Field(
        2048 * MEBIBYTE,
        ge=64 * MEBIBYTE,
        description="bytes of memory for packed segments, at least 67108864; a quarter is for those that do not stay",
    )
    search_memory_bytes: int = Field(
        1024 * MEBIBYTE,
        ge=64 * MEBIBYTE,
        description="bytes of memory for expanded probes and answers, at least 67108864. A search takes 16 bytes per "
        "dimension and slot, and while it begins six times as much; one that needs more than all of it runs alone. "
        "With VEILFACE_PEERS, half of it is for what peers ask for",
    )
    waiting_searches: int = Field(
        256, ge=0, le=100_000, description="how many searches may wait for that memory before others are refused"
    )
    remembered_slots: int = Field(
        4_000_000, ge=4096, description="how many enrollments' places are remembered between searches, from 4096"
    )
    trust_store: Path = Field(description="the JSON file of the public keys that sign templates, by identity")
    signing_key: Path = Field(description="the PEM file of the Ed25519 key that signs score batches")
    key_service: str = Field(min_length=1, description="the key service: host:port, dns:///host:port or unix:/path")
    key_service_name: str | None = Field(
        None, description="the name in the key service's certificate, if it is not its host"
    )
    peers: str | None = Field(
        None,
        description="all replicas, this one included: dns:///host:port for every address of a headless service, or "
        "host:port,host:port; not set: this replica scores whole galleries itself",
    )
    peers_name: str | None = Field(
        None, description="the name in the certificates of all replicas; not set: the host in VEILFACE_PEERS"
    )
    peers_check_s: float = Field(
        5.0, ge=0.05, le=600, description="seconds between looks at which replicas there are and which are well"
    )
    peer_patience_s: float = Field(
        5.0,
        ge=0.1,
        le=600,
        description="seconds that a replica may say nothing before the segments it was asked for are scored here",
    )
    fan_out_segments: int = Field(
        16, ge=2, le=1_000_000, description="how many segments a gallery has at least that replicas share out, from 2"
    )
    access_policy: Path | None = Field(
        None, description="the JSON file that says which identities may call which methods; not set: the built-in one"
    )
    ticket_lifetime_s: float = Field(
        120.0, ge=1, le=3600, description="seconds in which a score batch must be decided on, 1 to 3600"
    )
    workers: int = Field(
        default_factory=lambda: max(2, os.cpu_count() or 1),
        ge=1,
        le=1024,
        description="threads for cryptography; by default as many as there are processors",
    )
    queue_size: int = Field(256, ge=0, le=100_000, description="how many computations may wait for a thread")
    storage_workers: int = Field(8, ge=1, le=256, description="threads that wait for the database and for Redis")
    publish_quiet_s: float = Field(
        2.0, ge=0, le=3600, description="seconds without a change after which a segment is put into Redis"
    )
    publish_longest_s: float = Field(
        30.0, ge=0, le=3600, description="seconds after which a segment that keeps changing is put into Redis"
    )
    sweep_s: float = Field(
        60.0, ge=0.1, le=3600, description="seconds between sweeps for erased templates in memory and in Redis"
    )
    database_check_s: float = Field(5.0, ge=0.1, le=600, description="seconds between checks that the database answers")

    @model_validator(mode="after")
    def _check_redis(self) -> Self:
        if (self.redis_certificate is None) != (self.redis_private_key is None):
            raise ValueError("set both VEILFACE_REDIS_CERTIFICATE and VEILFACE_REDIS_PRIVATE_KEY, or neither")
        return self

    @model_validator(mode="after")
    def _check_peers(self) -> Self:
        if self.peer_addresses is not None and self.insecure:
            raise ValueError(
                "VEILFACE_PEERS is set, but VEILFACE_INSECURE is true: replicas know each other by their certificates"
            )
        return self

    @property
    def peer_addresses(self) -> PeerAddresses | None:
        """Where the replicas are. Raises ValueError if VEILFACE_PEERS does not say."""
        return None if self.peers is None else PeerAddresses.parse(self.peers)

    @property
    def window_bytes(self) -> int:
        """The memory for segments that are searched, but do not stay."""
        return self.segment_memory_bytes // 4
