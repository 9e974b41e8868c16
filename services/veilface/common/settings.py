"""Typed, frozen settings from environment variables that start with VEILFACE_.

A service derives one class from `ServerSettings`, adds its own fields and loads it once with `load_settings`. Every
field has a description: it documents the setting and is what a wrong value's message says was expected.
"""

from pathlib import Path
from typing import Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError

from veilface.common.addresses import is_local
from veilface.common.errors import ConfigurationError, Reason

ENVIRONMENT_PREFIX = "VEILFACE_"
MEBIBYTE = 1 << 20


class TlsSettings(BaseModel):
    """The PEM files of one party's mutual TLS."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    certificate: Path
    private_key: Path
    ca: Path


class ProcessSettings(BaseSettings):
    """What every veilface process needs: its certificate and how it logs."""

    model_config = SettingsConfigDict(
        env_prefix=ENVIRONMENT_PREFIX,
        env_ignore_empty=True,
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
    )

    tls_certificate: Path | None = Field(None, description="the PEM file of this party's certificate chain")
    tls_private_key: Path | None = Field(None, description="the PEM file of the certificate's private key")
    tls_ca: Path | None = Field(None, description="the PEM file of the authorities whose certificates are accepted")
    insecure: bool = Field(
        False, description="true or false: do without TLS, allowed on unix sockets and loopback addresses only"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="debug, info, warning or error")
    log_format: Literal["auto", "json", "pretty"] = Field(
        "auto", description="json, pretty, or auto: pretty on a terminal and json elsewhere"
    )

    @model_validator(mode="after")
    def _check_tls(self) -> Self:
        files = {
            "VEILFACE_TLS_CERTIFICATE": self.tls_certificate,
            "VEILFACE_TLS_PRIVATE_KEY": self.tls_private_key,
            "VEILFACE_TLS_CA": self.tls_ca,
        }
        missing = [name for name, path in files.items() if path is None]
        if self.insecure:
            if len(missing) < len(files):
                raise ValueError("VEILFACE_INSECURE is true, but TLS files are given: leave out one or the other")
        elif missing:
            raise ValueError(
                f"{' and '.join(missing)} not set; mutual TLS needs the certificate, its private key and the "
                "authority's certificate ('veilface certs' makes them for development)"
            )
        return self

    @property
    def tls(self) -> TlsSettings | None:
        """The TLS files; None in an insecure process."""
        if self.tls_certificate is None or self.tls_private_key is None or self.tls_ca is None:
            return None
        return TlsSettings(certificate=self.tls_certificate, private_key=self.tls_private_key, ca=self.tls_ca)


class ServerSettings(ProcessSettings):
    """What every veilface server needs."""

    listen: str = Field(
        min_length=1, description="the address to listen on, for example 0.0.0.0:7001 or unix:/run/veilface.sock"
    )
    insecure_identity: str | None = Field(
        None, description="the identity that every caller of an insecure server has; without one all are refused"
    )
    research: bool = Field(
        False,
        description="true accepts key parameters below 112 bits of security, and so many operating points that bands "
        "are nearly scores; never where real faces are",
    )
    drain_timeout_s: float = Field(
        30.0, ge=0, le=3600, description="seconds that running calls may take after a stop signal, 0 to 3600"
    )
    max_receive_bytes: int = Field(
        20 * MEBIBYTE, ge=1024, le=1024 * MEBIBYTE, description="the size of the largest request message, in bytes"
    )
    max_concurrent_calls: int = Field(
        1000, ge=1, le=1_000_000, description="how many calls may run at once; more are answered RESOURCE_EXHAUSTED"
    )
    keepalive_s: float = Field(60.0, ge=10, le=7200, description="seconds between keepalive pings, 10 to 7200")
    max_connection_age_s: float = Field(
        1800.0,
        ge=10,
        le=86_400,
        description="seconds after which a client connects anew, and so finds new replicas and proves itself again",
    )
    reflection: bool = Field(True, description="true or false: whether server reflection is offered")
    metrics_host: str = Field("127.0.0.1", description="the address that serves Prometheus metrics over HTTP")
    metrics_port: int | None = Field(
        None, ge=0, le=65_535, description="the port that serves Prometheus metrics over HTTP; not set: none is served"
    )
    health_host: str = Field("127.0.0.1", description="the address that answers health checks without TLS")
    health_port: int | None = Field(
        None,
        ge=0,
        le=65_535,
        description="the port that answers gRPC health checks, and nothing else, without TLS, for whoever watches the "
        "process; not set: none",
    )

    @model_validator(mode="after")
    def _check_insecure(self) -> Self:
        if self.insecure and not is_local(self.listen):
            raise ValueError(
                f"VEILFACE_INSECURE is true, but VEILFACE_LISTEN is {self.listen}: without TLS only unix: sockets and "
                "loopback addresses are allowed"
            )
        if self.insecure_identity is not None and not self.insecure:
            raise ValueError("VEILFACE_INSECURE_IDENTITY is set, but VEILFACE_INSECURE is not true: leave it out")
        return self


S = TypeVar("S", bound=ProcessSettings)


def load_settings(settings_class: type[S]) -> S:
    """Load settings from the environment.

    Raises:
        ConfigurationError: INVALID_SETTING, naming every variable that is missing or wrong and what was expected.
            Values are not shown: a variable may hold a secret.
    """
    try:
        return settings_class()
    except ValidationError as error:
        problems = [_problem(settings_class, detail) for detail in error.errors()]
        raise ConfigurationError(Reason.INVALID_SETTING, "; ".join(problems)) from None
    except SettingsError as error:
        # The message names the field and the source; the value is in the cause only.
        raise ConfigurationError(Reason.INVALID_SETTING, str(error)) from None


def environment_name(field: str) -> str:
    """The environment variable of a field."""
    return (ENVIRONMENT_PREFIX + field).upper()


def _problem(settings_class: type[ProcessSettings], detail: ErrorDetails) -> str:
    message = detail["msg"].removeprefix("Value error, ")
    if not detail["loc"]:
        return message
    field_name = str(detail["loc"][0])
    field = settings_class.model_fields.get(field_name)
    expected = f"; expected {field.description}" if field is not None and field.description else ""
    name = environment_name(field_name)
    if detail["type"] == "missing":
        return f"{name} is not set{expected}"
    return f"{name} is wrong ({message[:1].lower()}{message[1:]}){expected}"
