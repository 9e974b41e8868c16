"""What the chart puts into the environment of a service is what the service's settings take."""

import json
import os
from typing import Any

import pytest

from tests.unit.deploy.chart import CHART, SERVICES, VALUE_SETS, Values, environment, of_kind, pod_templates, render
from veilface.common.errors import ConfigurationError
from veilface.common.identity import AccessPolicy
from veilface.common.settings import ServerSettings, environment_name, load_settings
from veilface.crypto.public.packed.parallel import THREADS_VARIABLE
from veilface.embedding.models.weights import read_pinned_weights
from veilface.embedding.settings import EmbeddingSettings
from veilface.keys.domain.thresholds import read_thresholds
from veilface.keys.settings import KeysSettings
from veilface.matching.settings import MatchingSettings

SETTINGS: dict[str, type[ServerSettings]] = {
    "embedding": EmbeddingSettings,
    "keys": KeysSettings,
    "matching": MatchingSettings,
}
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
# Without TLS services listen on their own machine only.
REFUSED = {"insecure", "insecure_identity"}
MASTER_KEY = {"name": "VEILFACE_MASTER_KEY", "valueFrom": {"secretKeyRef": {"name": "master", "key": "key"}}}

every_service = pytest.mark.parametrize("service", SERVICES)
every_value_set = pytest.mark.parametrize("values", VALUE_SETS.values(), ids=VALUE_SETS.keys())


@pytest.fixture
def load(monkeypatch):
    """Loads a service's settings from an environment that holds nothing else of veilface."""

    def loaded(service: str, variables: dict[str, str]) -> Any:
        for name in [name for name in os.environ if name.startswith(environment_name(""))]:
            monkeypatch.delenv(name)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return load_settings(SETTINGS[service])

    return loaded


def field_names(variables: dict[str, str]) -> set[str]:
    return {name.removeprefix(environment_name("")).lower() for name in variables if name != THREADS_VARIABLE}


def free_settings(service: str) -> dict[str, Any]:
    return SCHEMA["$defs"][f"{service}Settings"]["properties"]


@every_value_set
def test_every_variable_is_a_setting_of_its_service_and_all_together_load(values, load):
    documents = render(values)
    for service in pod_templates(documents):
        variables = environment(documents, service)
        variables.pop("EXAMPLE", None)
        assert variables[THREADS_VARIABLE] == "2"
        assert field_names(variables) - set(SETTINGS[service].model_fields) == set()
        settings = load(service, variables)
        assert settings.tls is not None
        assert not settings.insecure


@every_service
def test_an_environment_of_the_chart_without_one_needed_variable_would_not_load(service, load):
    variables = environment(render(), service)
    load(service, variables)
    del variables["VEILFACE_TLS_CA"]
    with pytest.raises(ConfigurationError, match="VEILFACE_TLS_CA"):
        load(service, variables)


@every_service
def test_every_setting_of_a_service_can_be_set(service):
    given: set[str] = set()
    value_sets: list[Values] = [
        *VALUE_SETS.values(),
        {"keys": {"masterKey": {"fromSecret": False}, "extraEnv": [MASTER_KEY]}},
    ]
    for values in value_sets:
        documents = render(values)
        if service in pod_templates(documents):
            given |= field_names(environment(documents, service))
    assert set(SETTINGS[service].model_fields) - given - set(free_settings(service)) == REFUSED


@every_service
def test_free_settings_arrive_as_they_were_given(service, load):
    chosen = {
        name: example(schema) for name, schema in free_settings(service).items() if not name.startswith("master_key_")
    }
    settings = load(service, environment(render({service: {"settings": chosen}}), service))
    assert {name: getattr(settings, name) for name in chosen} == chosen


def test_fractions_and_large_numbers_are_written_out(load):
    values = {"segmentMemoryBytes": 1 << 40, "settings": {"publish_quiet_s": 0.25, "remembered_slots": 123_456_789_012}}
    variables = environment(render({"matching": values}), "matching")
    assert variables["VEILFACE_SEGMENT_MEMORY_BYTES"] == "1099511627776"
    settings = load("matching", variables)
    assert (settings.segment_memory_bytes, settings.publish_quiet_s) == (1 << 40, 0.25)
    assert settings.remembered_slots == 123_456_789_012


def test_threads_follow_the_limit_of_the_container_unless_workers_are_set():
    limits = {"resources": {"limits": {"cpu": "7"}}}
    assert environment(render({"matching": limits}), "matching")["VEILFACE_WORKERS"] == "7"
    with_workers = {"matching": {**limits, "settings": {"workers": 3}}}
    assert environment(render(with_workers), "matching")["VEILFACE_WORKERS"] == "3"


def test_addresses_of_ipv6_have_brackets_where_a_port_follows(load):
    variables = environment(render(VALUE_SETS["IPv6"]), "keys")
    assert (variables["VEILFACE_LISTEN"], variables["VEILFACE_HEALTH_HOST"]) == ("[::]:7002", "::")


def test_embedding_and_matching_use_the_key_service_of_the_release_or_the_one_that_is_named():
    for service in ("embedding", "matching"):
        own = environment(render(), service)
        assert own["VEILFACE_KEY_SERVICE"] == "dns:///veilface-keys.faces.svc:7002"
        assert "VEILFACE_KEY_SERVICE_NAME" not in own
        named = environment(render(VALUE_SETS["everything"]), service)
        assert named["VEILFACE_KEY_SERVICE"] == "dns:///keys.vault.svc:7002"
        assert named["VEILFACE_KEY_SERVICE_NAME"] == "keys.vault"


def test_files_that_settings_name_are_mounted_and_read_by_the_service(tmp_path):
    documents = render(VALUE_SETS["everything"])
    files = {each["metadata"]["name"]: each["data"] for each in of_kind(documents, "ConfigMap")}
    readers = {
        "access_policy.json": AccessPolicy.from_file,
        "thresholds.json": read_thresholds,
        "weights.json": read_pinned_weights,
    }
    read: set[str] = set()
    for service in SERVICES:
        for name, text in files[f"veilface-{service}-files"].items():
            path = tmp_path / f"{service}-{name}"
            path.write_text(text)
            assert readers[name](path)
            assert f"/etc/veilface/files/{name}" in environment(documents, service).values()
            read.add(name)
    assert read == set(readers)


def test_without_such_values_there_are_no_files():
    names = {each["metadata"]["name"] for each in of_kind(render(), "ConfigMap")}
    assert names == {f"veilface-{service}-settings" for service in SERVICES}


def test_a_changed_setting_makes_the_pods_of_its_service_anew_and_no_others():
    before, after = (checksums({"keys": {"settings": {"open_keys": count}}}) for count in (8, 16))
    assert before["keys"] != after["keys"]
    assert (before["embedding"], before["matching"]) == (after["embedding"], after["matching"])
    assert checksums({"keys": {"thresholds": VALUE_SETS["everything"]["keys"]["thresholds"]}})["keys"] != before["keys"]


def checksums(values: Values) -> dict[str, dict[str, str]]:
    return {name: template["metadata"]["annotations"] for name, template in pod_templates(render(values)).items()}


def example(schema: dict[str, Any]) -> Any:
    """A value that the schema allows and that is hardly anybody's default."""
    if schema["type"] == "boolean":
        return True
    if schema["type"] == "string":
        return schema["enum"][-1] if "enum" in schema else "example"
    smallest = schema.get("minimum", schema.get("exclusiveMinimum", 0))
    return smallest + 1 if schema["type"] == "integer" else smallest + 0.5
