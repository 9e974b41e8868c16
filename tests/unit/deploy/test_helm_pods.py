"""Pods are as locked up as they can be, are probed where they answer, and stop without losing calls."""

from copy import deepcopy

import pytest

from tests.unit.deploy.chart import (
    SERVICES,
    VALUE_SETS,
    Document,
    containers,
    environment,
    of_kind,
    pod_templates,
    render,
    selects,
    workloads,
)
from tests.unit.deploy.pod_security import violations
from veilface.common.health import LIVENESS

USER = 10001

every_service = pytest.mark.parametrize("service", SERVICES)
every_value_set = pytest.mark.parametrize("values", VALUE_SETS.values(), ids=VALUE_SETS.keys())


def pod(service: str, values: Document | None = None) -> Document:
    return pod_templates(render(values))[service]["spec"]


def the_container(service: str, values: Document | None = None) -> Document:
    (container,) = containers(pod(service, values))
    return container


@every_value_set
def test_every_pod_meets_the_restricted_standard(values):
    templates = pod_templates(render(values))
    assert templates
    for template in templates.values():
        assert violations(template["spec"]) == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"pod": {"hostNetwork": True}}, "hostNetwork"),
        ({"pod": {"volumes": [{"name": "host", "hostPath": {"path": "/"}}]}}, "volume host"),
        ({"pod": {"securityContext": {}}}, "runAsNonRoot"),
        ({"pod": {"securityContext": {"runAsNonRoot": True}}}, "seccompProfile"),
        ({"container": {"securityContext": {}}}, "capabilities kept"),
        ({"container": {"securityContext": {"privileged": True}}}, "privileged"),
        ({"container": {"securityContext": {"runAsUser": 0}}}, "runAsUser 0"),
        ({"container": {"ports": [{"containerPort": 7001, "hostPort": 7001}]}}, "hostPort"),
    ],
)
def test_a_pod_that_is_less_locked_up_would_be_found(changes, expected):
    specification = deepcopy(pod("keys"))
    assert expected not in violations(specification)
    specification |= changes.get("pod", {})
    specification["containers"][0] |= changes.get("container", {})
    assert expected in violations(specification)


@every_value_set
def test_pods_run_as_one_user_on_a_file_system_that_nobody_writes(values):
    for template in pod_templates(render(values)).values():
        context = template["spec"]["securityContext"]
        assert (context["runAsUser"], context["runAsGroup"], context["fsGroup"]) == (USER, USER, USER)
        for container in containers(template["spec"]):
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            written = {mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
            assert {"/tmp", "/var/cache/veilface"} <= written


@every_value_set
def test_no_pod_gets_a_token_or_variables_of_other_services(values):
    documents = render(values)
    for template in pod_templates(documents).values():
        assert template["spec"]["automountServiceAccountToken"] is False
        assert template["spec"]["enableServiceLinks"] is False
    assert all(account["automountServiceAccountToken"] is False for account in of_kind(documents, "ServiceAccount"))


def test_no_account_has_rights_and_each_service_has_its_own():
    documents = render()
    accounts = {each["metadata"]["name"] for each in of_kind(documents, "ServiceAccount")}
    assert accounts == {template["spec"]["serviceAccountName"] for template in pod_templates(documents).values()}
    assert len(accounts) == len(SERVICES)
    assert [each["kind"] for each in documents if "Role" in each["kind"]] == []


@every_service
def test_resources_are_requested_and_limited_and_a_matcher_has_room_for_its_budgets(service):
    resources = the_container(service)["resources"]
    for section in ("requests", "limits"):
        assert set(resources[section]) == {"cpu", "memory"}
    if service == "matching":
        variables = environment(render(), service)
        budgets = sum(int(variables[f"VEILFACE_{name}_MEMORY_BYTES"]) for name in ("SEGMENT", "SEARCH"))
        assert int(resources["limits"]["memory"].removesuffix("Gi")) * 2**30 >= budgets + 2 * 2**30


@every_service
def test_probes_ask_the_plain_health_port_on_all_addresses(service):
    container = the_container(service)
    variables = environment(render(), service)
    port = int(variables["VEILFACE_HEALTH_PORT"])
    assert variables["VEILFACE_HEALTH_HOST"] == "0.0.0.0"
    assert {each["name"]: each["containerPort"] for each in container["ports"]}["health"] == port
    assert container["readinessProbe"]["grpc"] == {"port": port}
    for probe in ("startupProbe", "livenessProbe"):
        assert container[probe]["grpc"] == {"port": port, "service": LIVENESS}


@every_service
def test_a_start_may_take_five_minutes(service):
    probe = the_container(service)["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] >= 300


@every_service
@pytest.mark.parametrize(("pause_s", "drain_s"), [(5, 30), (0, 0), (20, 3600)])
def test_a_pod_is_killed_only_after_its_pause_and_its_drain(service, pause_s, drain_s):
    values = {"preStopSeconds": pause_s, service: {"drainTimeoutSeconds": drain_s}}
    assert environment(render(values), service)["VEILFACE_DRAIN_TIMEOUT_S"] == str(drain_s)
    assert pod(service, values)["terminationGracePeriodSeconds"] > pause_s + drain_s
    container = the_container(service, values)
    if pause_s:
        assert container["lifecycle"]["preStop"]["exec"]["command"] == ["sleep", str(pause_s)]
    else:
        assert "lifecycle" not in container


def test_an_update_takes_away_no_pod_before_another_is_ready_or_one_at_a_time():
    documents = workloads(render())
    assert documents["embedding"]["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    for service in ("keys", "matching"):
        assert documents[service]["kind"] == "StatefulSet"
        assert documents[service]["spec"]["updateStrategy"] == {"type": "RollingUpdate"}
    assert {name: document["spec"]["replicas"] for name, document in documents.items()} == dict.fromkeys(SERVICES, 2)


@every_value_set
def test_selectors_choose_the_pods_of_their_service_and_no_others(values):
    documents = render(values)
    templates = pod_templates(documents)
    for document in documents:
        selector = selector_of(document)
        if selector is None:
            continue
        service = document["metadata"]["labels"]["app.kubernetes.io/component"]
        chosen = {name for name, each in templates.items() if selects(selector, each["metadata"]["labels"])}
        assert chosen == {service}, document["metadata"]["name"]
    kinds = {document["kind"] for document in documents if selector_of(document) is not None}
    assert {"Service"} < kinds


def selector_of(document: Document) -> dict[str, str] | None:
    if document["kind"] == "Service":
        return document["spec"]["selector"]
    if document["kind"] in {"Deployment", "StatefulSet", "PodDisruptionBudget"}:
        return document["spec"]["selector"]["matchLabels"]
    if document["kind"] == "NetworkPolicy":
        return document["spec"]["podSelector"]["matchLabels"]
    return None


@every_value_set
def test_services_are_headless_and_name_ports_that_their_pods_have(values):
    documents = render(values)
    templates = pod_templates(documents)
    assert len(of_kind(documents, "Service")) == len(templates)
    for service in of_kind(documents, "Service"):
        assert service["spec"]["clusterIP"] == "None"
        name = service["metadata"]["labels"]["app.kubernetes.io/component"]
        (container,) = containers(templates[name]["spec"])
        ports = {each["name"]: each["containerPort"] for each in container["ports"]}
        for port in service["spec"]["ports"]:
            assert ports[port["targetPort"]] == port["port"]
        listened_on = environment(documents, name)["VEILFACE_LISTEN"].rpartition(":")[2]
        assert ports["grpc"] == int(listened_on)
        if workloads(documents)[name]["kind"] == "StatefulSet":
            assert workloads(documents)[name]["spec"]["serviceName"] == service["metadata"]["name"]


def test_a_monitor_finds_the_metrics_port_of_every_service():
    documents = render(VALUE_SETS["everything"])
    (monitor,) = of_kind(documents, "ServiceMonitor")
    (endpoint,) = monitor["spec"]["endpoints"]
    found = [
        service
        for service in of_kind(documents, "Service")
        if selects(monitor["spec"]["selector"]["matchLabels"], service["metadata"]["labels"])
        and endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    ]
    assert len(found) == len(SERVICES)
    assert monitor["metadata"]["labels"]["release"] == "prometheus"


def test_an_autoscaler_scales_what_is_there_and_takes_the_number_of_pods_over():
    documents = render(VALUE_SETS["everything"])
    scaled = {
        each["metadata"]["labels"]["app.kubernetes.io/component"]: each
        for each in of_kind(documents, "HorizontalPodAutoscaler")
    }
    assert set(scaled) == {"embedding", "matching"}
    for service, autoscaler in scaled.items():
        workload = workloads(documents)[service]
        reference = autoscaler["spec"]["scaleTargetRef"]
        assert (reference["kind"], reference["name"]) == (workload["kind"], workload["metadata"]["name"])
        assert "replicas" not in workload["spec"]
    assert of_kind(render(), "HorizontalPodAutoscaler") == []


@every_service
def test_pods_are_spread_over_nodes_and_never_taken_away_all_at_once(service):
    (constraint,) = pod(service)["topologySpreadConstraints"]
    assert constraint["topologyKey"] == "kubernetes.io/hostname"
    labels = pod_templates(render())[service]["metadata"]["labels"]
    assert selects(constraint["labelSelector"]["matchLabels"], labels)
    budgets = {
        each["metadata"]["labels"]["app.kubernetes.io/component"]: each
        for each in of_kind(render(), "PodDisruptionBudget")
    }
    assert budgets[service]["spec"]["maxUnavailable"] == 1


def test_each_replica_of_the_key_service_keeps_an_audit_file_of_its_own():
    statefulset = workloads(render())["keys"]
    (claim,) = statefulset["spec"]["volumeClaimTemplates"]
    folder = {mount["name"]: mount["mountPath"] for mount in the_container("keys")["volumeMounts"]}[
        claim["metadata"]["name"]
    ]
    assert environment(render(), "keys")["VEILFACE_AUDIT_FILE"].startswith(f"{folder}/")
    retention = statefulset["spec"]["persistentVolumeClaimRetentionPolicy"]
    assert set(retention.values()) == {"Retain"}


def test_segments_are_on_the_pods_disk_or_on_a_claim_of_each_replica():
    kept = {"matching": {"segments": {"persistence": {"enabled": True}}}}
    for values in (None, kept):
        mounts = {mount["name"]: mount["mountPath"] for mount in the_container("matching", values)["volumeMounts"]}
        assert environment(render(values), "matching")["VEILFACE_SEGMENT_FOLDER"] == mounts["segments"]
    assert {volume["name"]: volume for volume in pod("matching")["volumes"]}["segments"]["emptyDir"] == {
        "sizeLimit": "20Gi"
    }
    assert "segments" not in {volume["name"] for volume in pod("matching", kept)["volumes"]}
    (claim,) = workloads(render(kept))["matching"]["spec"]["volumeClaimTemplates"]
    assert claim["metadata"]["name"] == "segments"
    assert "volumeClaimTemplates" not in workloads(render())["matching"]["spec"]


def test_imported_blobs_are_on_a_claim_that_all_replicas_share_or_nowhere():
    values = {"matching": {"blobs": {"existingClaim": "shared"}}}
    volumes = {volume["name"]: volume for volume in pod("matching", values)["volumes"]}
    assert volumes["blobs"]["persistentVolumeClaim"] == {"claimName": "shared"}
    mounts = {mount["name"]: mount["mountPath"] for mount in the_container("matching", values)["volumeMounts"]}
    assert environment(render(values), "matching")["VEILFACE_BLOB_FOLDER"] == mounts["blobs"]
    assert "VEILFACE_BLOB_FOLDER" not in environment(render(), "matching")


@every_value_set
def test_every_mount_has_its_volume_and_every_volume_its_mount(values):
    for workload in workloads(render(values)).values():
        specification = workload["spec"]["template"]["spec"]
        claims = {claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", [])}
        volumes = {volume["name"] for volume in specification["volumes"]} | claims
        for container in containers(specification):
            assert {mount["name"] for mount in container["volumeMounts"]} == volumes
