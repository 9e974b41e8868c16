"""Writes the services' settings into the chart's schema:  .venv/bin/python deploy/helm/generate_schema.py [FILE]

Without FILE, into deploy/helm/veilface/values.schema.json itself. deploy/local/bootstrap dev makes .venv.
"""

import json
import sys
from pathlib import Path
from typing import Any

from veilface.common.settings import ServerSettings
from veilface.embedding.settings import EmbeddingSettings
from veilface.keys.domain.thresholds import Threshold
from veilface.keys.settings import KeysSettings
from veilface.matching.settings import MatchingSettings

SCHEMA = Path(__file__).parent / "veilface" / "values.schema.json"

SETTINGS: dict[str, type[ServerSettings]] = {
    "embedding": EmbeddingSettings,
    "keys": KeysSettings,
    "matching": MatchingSettings,
}

# Set by the chart from other values, or from Secrets.
CHARTS_OWN = frozenset(
    {
        "access_policy",
        "audit_file",
        "blob_folder",
        "database_url",
        "drain_timeout_s",
        "embedding_deepface_home",
        "embedding_downloads",
        "embedding_pipelines",
        "embedding_weights_file",
        "health_host",
        "health_port",
        "key_service",
        "key_service_name",
        "listen",
        "log_format",
        "log_level",
        "master_key",
        "master_key_file",
        "metrics_host",
        "metrics_port",
        "peers",
        "redis_ca",
        "redis_certificate",
        "redis_private_key",
        "redis_url",
        "search_memory_bytes",
        "segment_folder",
        "segment_memory_bytes",
        "signing_key",
        "threshold_file",
        "tls_ca",
        "tls_certificate",
        "tls_private_key",
        "trust_store",
    }
)
# The matching service's threads follow its processors, and may be set; the others' are values.
CHARTS_OWN_OF = {"embedding": frozenset({"workers"}), "keys": frozenset({"workers"}), "matching": frozenset()}

# Without TLS services listen on their own machine only, which is no place in a cluster.
REFUSED = frozenset({"insecure", "insecure_identity"})

_KEPT = (
    "description",
    "type",
    "enum",
    "pattern",
    "minLength",
    "maxLength",
    "minimum",
    "exclusiveMinimum",
    "maximum",
    "items",
    "minItems",
    "maxItems",
)


def definitions() -> dict[str, Any]:
    """The schemas of each service's free settings, `{service}Settings`, and of a threshold."""
    schemas: dict[str, Any] = {f"{service}Settings": _settings_schema(service) for service in SETTINGS}
    schemas["threshold"] = _threshold_schema()
    return schemas


def _settings_schema(service: str) -> dict[str, Any]:
    properties = SETTINGS[service].model_json_schema()["properties"]
    left_out = CHARTS_OWN | CHARTS_OWN_OF[service] | REFUSED
    return _closed({name: _property(each) for name, each in sorted(properties.items()) if name not in left_out})


def _threshold_schema() -> dict[str, Any]:
    schema = Threshold.model_json_schema()
    metrics = schema["$defs"]["Metric"]["enum"]
    properties = {
        name: {"enum": metrics} if "$ref" in each else _property(each) for name, each in schema["properties"].items()
    }
    return _closed(properties) | {"required": list(properties)}


def _property(schema: dict[str, Any]) -> dict[str, Any]:
    # An optional setting is one that is left out: null is no text of a variable.
    (only,) = [each for each in schema.get("anyOf", [schema]) if each.get("type") != "null"]
    merged = {**schema, **only}
    return {keyword: merged[keyword] for keyword in _KEPT if keyword in merged}


def _closed(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "properties": properties}


def main() -> None:
    """Write the schema."""
    schema = json.loads(SCHEMA.read_text())
    schema["$defs"] |= definitions()
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else SCHEMA
    target.write_text(json.dumps(schema, indent=2) + "\n")


if __name__ == "__main__":
    main()
