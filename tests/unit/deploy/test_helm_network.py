"""Who reaches whom in the cluster is what the design says: each service knows as few others as it can."""

from itertools import product

import pytest

from tests.unit.deploy.chart import NAMESPACE, SERVICES, VALUE_SETS, Document, Values, of_kind, pod_templates, render
from tests.unit.deploy.network import Pod, may_reach

GRPC = {"embedding": 7001, "keys": 7002, "matching": 7003}
HEALTH = 7009
METRICS = 9090
POSTGRESQL = 5432
REDIS = 6379
DNS = 53

CALLER = Pod("caller", NAMESPACE, {"veilface-caller": "true"})
STRANGER = Pod("stranger", NAMESPACE, {"app": "shop"})
FOREIGN_CALLER = Pod("a caller of another namespace", "shop", {"veilface-caller": "true"})
PROMETHEUS = Pod("prometheus", "monitoring")
KEYS_DATABASE = Pod("the database of keys", NAMESPACE, {"veilface-database": "keys"})
MATCHING_DATABASE = Pod("the database of matching", NAMESPACE, {"veilface-database": "matching"})
REDIS_SERVER = Pod("redis", NAMESPACE, {"veilface-redis": "matching"})
NAME_SERVER = Pod("dns", "kube-system", {"k8s-app": "kube-dns"})
OUTSIDERS = (CALLER, STRANGER, FOREIGN_CALLER, PROMETHEUS)
STORES = (KEYS_DATABASE, MATCHING_DATABASE, REDIS_SERVER)
PORTS = (*GRPC.values(), HEALTH, METRICS, POSTGRESQL, REDIS, 443)

DESIGN = {
    ("caller", "embedding", 7001),
    ("caller", "matching", 7003),
    ("caller", "keys", 7002),
    ("embedding", "keys", 7002),
    ("matching", "keys", 7002),
    ("matching", "matching", 7003),
    ("keys", "the database of keys", POSTGRESQL),
    ("matching", "the database of matching", POSTGRESQL),
    ("matching", "redis", REDIS),
    ("prometheus", "embedding", METRICS),
    ("prometheus", "keys", METRICS),
    ("prometheus", "matching", METRICS),
}


def release(values: Values | None = None, namespace: str = NAMESPACE) -> tuple[list[Document], dict[str, Pod]]:
    """The policies of a release, and one pod of each of its services."""
    documents = render(values, namespace=namespace)
    templates = pod_templates(documents)
    pods = {name: Pod(name, namespace, template["metadata"]["labels"]) for name, template in templates.items()}
    return of_kind(documents, "NetworkPolicy"), pods


def reached(policies: list[Document], pods: dict[str, Pod]) -> set[tuple[str, str, int]]:
    """Every source, target and port with a way through that begins or ends at a service; of one name: two replicas."""
    everybody = (*pods.values(), *OUTSIDERS, *STORES)
    return {
        (source.name, target.name, port)
        for source, target, port in product(everybody, everybody, PORTS)
        if (source.name in pods or target.name in pods) and may_reach(policies, source, target, port)
    }


def test_services_reach_and_are_reached_by_what_the_design_names_and_nothing_else():
    assert reached(*release()) == DESIGN


@pytest.mark.parametrize(
    ("source", "target", "port"),
    [
        ("matching", "embedding", 7001),
        ("embedding", "matching", 7003),
        ("keys", "embedding", 7001),
        ("keys", "matching", 7003),
        ("matching", "the database of keys", POSTGRESQL),
        ("embedding", "the database of keys", POSTGRESQL),
        ("embedding", "the database of matching", POSTGRESQL),
        ("keys", "redis", REDIS),
        ("stranger", "keys", 7002),
        ("a caller of another namespace", "keys", 7002),
    ],
)
def test_what_the_design_forbids_is_open_without_the_policies_and_shut_with_them(source, target, port):
    _, pods = release()
    everybody = {pod.name: pod for pod in (*pods.values(), *OUTSIDERS, *STORES)}
    assert not may_reach(release()[0], everybody[source], everybody[target], port)
    assert release({"networkPolicy": {"enabled": False}})[0] == []
    assert may_reach([], everybody[source], everybody[target], port)


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_may_look_names_up_and_reach_nothing_else_there(service):
    policies, pods = release()
    for protocol in ("UDP", "TCP"):
        assert may_reach(policies, pods[service], NAME_SERVER, DNS, protocol)
    assert not may_reach(policies, pods[service], NAME_SERVER, 443)
    assert not may_reach(policies, pods[service], Pod("impostor", "shop", NAME_SERVER.labels), DNS, "UDP")


@pytest.mark.parametrize("service", SERVICES)
def test_no_pod_reaches_the_port_of_health_checks(service):
    policies, pods = release()
    for source in (*OUTSIDERS, PROMETHEUS, *pods.values()):
        assert not may_reach(policies, source, pods[service], HEALTH)
    assert may_reach(policies, PROMETHEUS, pods[service], METRICS)


def test_without_metrics_nobody_reaches_their_port():
    policies, pods = release({"metrics": {"enabled": False}})
    assert {way for way in reached(policies, pods) if way[2] == METRICS} == set()
    assert reached(policies, pods) == {way for way in DESIGN if way[2] != METRICS}


def test_without_redis_no_policy_mentions_it():
    policies, pods = release({"matching": {"redis": {"enabled": False}}})
    assert reached(policies, pods) == DESIGN - {("matching", "redis", REDIS)}


def test_matchers_that_do_not_share_out_searches_do_not_reach_each_other():
    policies, pods = release({"matching": {"fanOut": False}})
    assert reached(policies, pods) == DESIGN - {("matching", "matching", 7003)}


def test_services_of_two_releases_keep_apart():
    policies, pods = release()
    _, others = release(namespace="elsewhere")
    strangers = [Pod(f"{pod.name} of another namespace", pod.namespace, pod.labels) for pod in others.values()]
    for source, target in product(strangers, pods.values()):
        assert not may_reach(policies, source, target, GRPC[target.name])


def test_callers_can_be_added_to_one_service_without_reaching_the_others():
    added = {"podSelector": {"matchLabels": {"app": "shop"}}}
    policies, pods = release({"matching": {"extraCallers": [added]}})
    assert may_reach(policies, STRANGER, pods["matching"], GRPC["matching"])
    assert not may_reach(policies, STRANGER, pods["keys"], GRPC["keys"])


def test_a_key_service_of_another_release_is_reached_where_its_own_release_lets_it():
    matcher_policies, matcher_pods = release(VALUE_SETS["matching alone"])
    vault_namespace = "vault"
    peer = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": NAMESPACE}},
        "podSelector": {"matchLabels": {"app.kubernetes.io/component": "matching"}},
    }
    alone = {"embedding": {"enabled": False}, "matching": {"enabled": False}}
    shut, vault_pods = release(alone, vault_namespace)
    opened, _ = release({**alone, "keys": {"extraCallers": [peer]}}, vault_namespace)
    way = (matcher_pods["matching"], vault_pods["keys"], GRPC["keys"])
    assert not may_reach([*matcher_policies, *shut], *way)
    assert may_reach([*matcher_policies, *opened], *way)
