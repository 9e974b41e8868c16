"""Wrong values are refused before anything is installed, and the message says which and why."""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from helm_python import HelmRenderError, HelmValuesError

from tests.unit.deploy.chart import CHART, REPOSITORY, SERVICES, render

TIMEOUT_S = 120
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
# Helm's own: whatever a parent chart shares with all of its charts.
OPEN = {"#/properties/global"}

CLIENT = {"podSelector": {"matchLabels": {"app": "gateway"}}}
REDIS_URL = {"name": "VEILFACE_REDIS_URL", "value": "redis://elsewhere"}
MASTER_KEY = {"name": "VEILFACE_MASTER_KEY", "valueFrom": {"secretKeyRef": {"name": "master", "key": "key"}}}
KEY_SERVICE = {"address": "dns:///keys.vault.svc:7002", "to": [CLIENT]}


@pytest.mark.parametrize(
    ("wrong", "right", "message"),
    [
        ({"embeding": {}}, {"embedding": {}}, "'embeding' not allowed"),
        ({"keys": {"replica": 3}}, {"keys": {"replicas": 3}}, "at '/keys': additional properties 'replica'"),
        ({"keys": {"settings": {"open_kes": 3}}}, {"keys": {"settings": {"open_keys": 3}}}, "'open_kes' not allowed"),
        (
            {"keys": {"settings": {"open_keys": 0}}},
            {"keys": {"settings": {"open_keys": 1}}},
            "/keys/settings/open_keys",
        ),
        (
            {"embedding": {"settings": {"open_keys": 3}}},
            {"embedding": {"settings": {"queue_size": 3}}},
            "at '/embedding/settings'",
        ),
        ({"keys": {"settings": {"master_key": "a"}}}, {"keys": {"settings": {}}}, "'master_key' not allowed"),
        ({"keys": {"settings": {"insecure": True}}}, {"keys": {"settings": {"research": True}}}, "'insecure' not"),
        ({"keys": {"replicas": "3"}}, {"keys": {"replicas": 3}}, "at '/keys/replicas': got string, want integer"),
        ({"matching": {"segmentMemoryBytes": "2Gi"}}, {"matching": {"segmentMemoryBytes": 1 << 31}}, "want integer"),
        ({"logLevel": "loud"}, {"logLevel": "debug"}, "must be one of 'debug', 'info', 'warning', 'error'"),
        ({"healthPort": 70000}, {"healthPort": 7200}, "/healthPort"),
        ({"metrics": {"enabled": "yes"}}, {"metrics": {"enabled": True}}, "got string, want boolean"),
        (
            {"keys": {"resources": {"limits": {"memory": "4 GB"}}}},
            {"keys": {"resources": {"limits": {"memory": "4Gi"}}}},
            "/keys/resources/limits/memory",
        ),
        (
            {"networkPolicy": {"callers": [{"podSelectr": {}}]}},
            {"networkPolicy": {"callers": [CLIENT]}},
            "'podSelectr' not allowed",
        ),
        (
            {"matching": {"podLabels": {"app.kubernetes.io/component": "keys"}}},
            {"matching": {"podLabels": {"example.org/component": "keys"}}},
            "/matching/podLabels",
        ),
        (
            {"embedding": {"image": {"digest": "sha256:1234"}}},
            {"embedding": {"image": {"digest": f"sha256:{'1' * 64}"}}},
            "/embedding/image/digest",
        ),
        (
            {"keys": {"extraVolumes": [{"name": "host", "hostPath": {"path": "/"}}]}},
            {"keys": {"extraVolumes": [{"name": "kms", "secret": {"secretName": "kms"}}]}},
            "'hostPath' not allowed",
        ),
        # Without a peer a rule lets everybody through.
        ({"keys": {"database": {"to": []}}}, {"keys": {"database": {"to": [CLIENT]}}}, "/keys/database/to"),
    ],
)
def test_a_wrong_value_is_refused_by_name_and_the_right_one_taken(wrong, right, message):
    with pytest.raises(HelmValuesError) as caught:
        render(wrong)
    assert message in str(caught.value)
    assert render(right)


@pytest.mark.parametrize(
    ("wrong", "right", "message"),
    [
        (
            {"keys": {"enabled": False}},
            {"keys": {"enabled": False}, "keyService": KEY_SERVICE},
            "set keyService.address",
        ),
        (
            {"keys": {"enabled": False}, "keyService": {"address": "dns:///keys.vault.svc:7002"}},
            {"keys": {"enabled": False}, "keyService": KEY_SERVICE},
            "set keyService.to",
        ),
        ({"keyService": {"address": "keys.vault:7002"}}, {"keyService": KEY_SERVICE}, "keyService.to is empty"),
        (
            {"certManager": {"enabled": True}},
            {"certManager": {"enabled": True, "issuerRef": {"name": "veilface"}}},
            "certManager.issuerRef.name is not set",
        ),
        (
            {"metrics": {"enabled": False, "serviceMonitor": {"enabled": True}}},
            {"metrics": {"enabled": True, "serviceMonitor": {"enabled": True}}},
            "nothing to monitor",
        ),
        (
            {"matching": {"autoscaling": {"minReplicas": 9}}},
            {"matching": {"autoscaling": {"minReplicas": 8}}},
            "matching.autoscaling.minReplicas is 9, more than maxReplicas, which is 8",
        ),
        (
            {"keys": {"masterKey": {"fromSecret": False}}},
            {"keys": {"masterKey": {"fromSecret": False}, "extraEnv": [MASTER_KEY]}},
            "exactly one master key, and none is given",
        ),
        (
            {"keys": {"settings": {"master_key_provider": "kms:wrapper"}}},
            {"keys": {"masterKey": {"fromSecret": False}, "settings": {"master_key_provider": "kms:wrapper"}}},
            "VEILFACE_MASTER_KEY_PROVIDER and keys.masterKey.fromSecret are given",
        ),
        (
            {"matching": {"extraEnv": [REDIS_URL]}},
            {"matching": {"extraEnv": [REDIS_URL], "redis": {"enabled": False}}},
            "matching.extraEnv sets VEILFACE_REDIS_URL, which is set already",
        ),
    ],
)
def test_values_that_do_not_go_together_are_refused_with_what_to_do(wrong, right, message):
    with pytest.raises(HelmRenderError) as caught:
        render(wrong)
    assert message.lower() in str(caught.value).lower()
    assert render(right)


def test_the_committed_settings_are_those_of_the_services(tmp_path):
    generated = tmp_path / "values.schema.json"
    program = REPOSITORY / "deploy" / "helm" / "generate_schema.py"
    subprocess.run([sys.executable, str(program), str(generated)], check=True, timeout=TIMEOUT_S)
    assert generated.read_text() == (CHART / "values.schema.json").read_text(), f"run {program}"


def test_the_settings_of_every_service_say_what_they_are():
    for service in SERVICES:
        properties = SCHEMA["$defs"][f"{service}Settings"]["properties"]
        assert properties
        assert [name for name, each in properties.items() if not each.get("description")] == []


def test_no_object_of_the_schema_takes_names_that_it_does_not_know():
    objects = dict(objects_of(SCHEMA, "#"))
    assert len(objects) > 50
    assert {path for path, each in objects.items() if takes_anything(each)} == OPEN


def test_an_open_object_would_be_found():
    assert takes_anything({"type": "object", "properties": {}})
    assert not takes_anything({"type": "object", "properties": {}, "additionalProperties": False})
    assert not takes_anything({"type": "object", "additionalProperties": {"type": "string"}})


def takes_anything(schema: dict[str, Any]) -> bool:
    closed_to = schema.get("additionalProperties", True)
    return closed_to is True or closed_to == {}


def objects_of(schema: Any, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            yield path, schema
        for key, value in schema.items():
            yield from objects_of(value, f"{path}/{key}")
    elif isinstance(schema, list):
        for position, value in enumerate(schema):
            yield from objects_of(value, f"{path}/{position}")
