"""Who may reach whom under NetworkPolicies, by the rules of Kubernetes: what a pod's policies leave out is denied."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from tests.unit.deploy.chart import Document, selects

_NAMESPACE_LABEL = "kubernetes.io/metadata.name"


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod of a cluster."""

    name: str
    namespace: str
    labels: dict[str, str] = field(default_factory=dict)


def may_reach(policies: Iterable[Document], source: Pod, target: Pod, port: int, protocol: str = "TCP") -> bool:
    """Whether both ends let a connection through."""
    policies = list(policies)
    leaves = _allowed(policies, source, target, "Egress", port, protocol)
    enters = _allowed(policies, target, source, "Ingress", port, protocol)
    return leaves and enters


def _allowed(policies: list[Document], pod: Pod, other: Pod, direction: str, port: int, protocol: str) -> bool:
    concerned = [
        policy
        for policy in policies
        if policy["metadata"]["namespace"] == pod.namespace
        and direction in policy["spec"]["policyTypes"]
        and _selected(policy["spec"]["podSelector"], pod.labels)
    ]
    peers_field = "to" if direction == "Egress" else "from"
    rules = [rule for policy in concerned for rule in policy["spec"].get(direction.lower(), [])]
    return not concerned or any(
        _is_peer(rule.get(peers_field, []), pod, other) and _is_port(rule.get("ports", []), port, protocol)
        for rule in rules
    )


def _is_peer(peers: list[Document], pod: Pod, other: Pod) -> bool:
    return not peers or any(_matches(peer, pod, other) for peer in peers)


def _matches(peer: Document, pod: Pod, other: Pod) -> bool:
    if "ipBlock" in peer:
        # Addresses outside of the cluster: no pod of these tests has one.
        return False
    if "namespaceSelector" in peer:
        in_namespace = _selected(peer["namespaceSelector"], {_NAMESPACE_LABEL: other.namespace})
    else:
        in_namespace = other.namespace == pod.namespace
    return in_namespace and _selected(peer.get("podSelector", {}), other.labels)


def _is_port(ports: list[Document], port: int, protocol: str) -> bool:
    return not ports or any(
        each.get("protocol", "TCP") == protocol and each["port"] <= port <= each.get("endPort", each["port"])
        for each in ports
    )


def _selected(selector: Document, labels: dict[str, str]) -> bool:
    if selector.keys() - {"matchLabels"}:
        raise NotImplementedError(f"only matchLabels are understood, not {sorted(selector)}")
    return selects(selector.get("matchLabels", {}), labels)
