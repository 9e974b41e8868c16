"""The Helm chart, rendered by Helm itself, and what its tests ask of the documents that come out."""

import json
from collections.abc import Iterator, Mapping
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from helm_python import Chart

REPOSITORY = Path(__file__).resolve().parents[3]
CHART = REPOSITORY / "deploy" / "helm" / "veilface"
RELEASE = "veilface"
NAMESPACE = "faces"
SERVICES = ("embedding", "keys", "matching")
NOTES = "veilface/templates/NOTES.txt"

Document = dict[str, Any]
Values = dict[str, Any]

_PEER = {"namespaceSelector": {"matchLabels": {"team": "gateways"}}, "podSelector": {"matchLabels": {"app": "gateway"}}}
_KEY_SERVICE = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "vault"}}}
_THRESHOLD = {
    "model": "Facenet/yunet/deepface",
    "metric": "cosine",
    "operating_point": "strict",
    "value": 0.8,
    "source": "300 labelled pairs",
    "measured": "2026-01-01",
}


def _placed() -> Values:
    return {
        "podAnnotations": {"example.org/owner": "biometrics"},
        "podLabels": {"team": "biometrics"},
        "priorityClassName": "high",
        "runtimeClassName": "kata",
        "nodeSelector": {"disk": "fast"},
        "tolerations": [{"key": "biometrics", "operator": "Exists", "effect": "NoSchedule"}],
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [
                        {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a", "b"]}]}
                    ]
                }
            }
        },
        "extraEnv": [{"name": "EXAMPLE", "value": "1"}],
        "extraVolumes": [{"name": "kms", "projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}}],
        "extraVolumeMounts": [{"name": "kms", "mountPath": "/etc/kms", "readOnly": True}],
        "extraCallers": [_PEER],
        "extraEgress": [{"to": [{"ipBlock": {"cidr": "192.0.2.0/24"}}], "ports": [{"protocol": "TCP", "port": 443}]}],
        "podDisruptionBudget": {"maxUnavailable": "25%"},
        "serviceAccount": {"annotations": {"example.org/role": "veilface"}},
        "image": {"digest": f"sha256:{'0' * 64}"},
    }


VALUE_SETS: dict[str, Values] = {
    "defaults": {},
    "everything": {
        "commonLabels": {"department": "security"},
        "image": {"registry": "registry.example.org/biometrics", "pullSecrets": [{"name": "registry"}]},
        "metrics": {"serviceMonitor": {"enabled": True, "labels": {"release": "prometheus"}}},
        "certManager": {"enabled": True, "issuerRef": {"name": "veilface", "kind": "ClusterIssuer"}},
        "keyService": {"address": "dns:///keys.vault.svc:7002", "certificateName": "keys.vault", "to": [_KEY_SERVICE]},
        "embedding": {
            **_placed(),
            "pipelines": ["dlib-resnet/hog/chip", "Facenet/yunet/deepface"],
            "weights": {"existingClaim": "weights", "downloads": True, "sha256": {"facenet_weights.onnx": "ab" * 32}},
            "accessPolicy": {"/veilface.embedding.v1.EmbeddingService/ListModels": ["spiffe://veilface/client"]},
            "autoscaling": {"enabled": True},
        },
        "keys": {
            **_placed(),
            "database": {"tls": {"existingSecret": "keys-database-tls"}},
            "audit": {"storageClass": "replicated"},
            "thresholds": [_THRESHOLD],
            "accessPolicy": {"/veilface.keys.v1.KeyService/*": ["spiffe://veilface/operator"]},
        },
        "matching": {
            **_placed(),
            "database": {"tls": {"existingSecret": "matching-database-tls"}},
            "redis": {"tls": {"existingSecret": "redis-tls", "clientCertificate": True}},
            "segments": {"persistence": {"enabled": True, "storageClass": "local"}},
            "blobs": {"existingClaim": "blobs"},
            "accessPolicy": {"/veilface.matching.v1.MatchingService/*": ["spiffe://veilface/client"]},
            "autoscaling": {"enabled": True, "maxReplicas": 20},
        },
    },
    "nothing that can be left out": {
        "preStopSeconds": 0,
        "metrics": {"enabled": False},
        "networkPolicy": {"enabled": False},
        "embedding": {
            "podDisruptionBudget": {"enabled": False},
            "serviceAccount": {"create": False},
            "topologySpread": [],
        },
        "keys": {"podDisruptionBudget": {"enabled": False}, "serviceAccount": {"create": False}, "topologySpread": []},
        "matching": {
            "podDisruptionBudget": {"enabled": False},
            "serviceAccount": {"create": False},
            "topologySpread": [],
            "redis": {"enabled": False},
            "fanOut": False,
        },
    },
    "keys alone": {"embedding": {"enabled": False}, "matching": {"enabled": False}, "keys": {"extraCallers": [_PEER]}},
    "matching alone": {
        "embedding": {"enabled": False},
        "keys": {"enabled": False},
        "keyService": {"address": "dns:///keys.vault.svc:7002", "to": [_KEY_SERVICE]},
    },
    "a master key of a command": {
        "keys": {"masterKey": {"fromSecret": False}, "settings": {"master_key_command": "vault-client read master"}}
    },
    "IPv6": {"bindAddress": "::"},
}


@cache
def _chart() -> Chart:
    return Chart.load(CHART)


def render(values: Values | None = None, *, name: str = RELEASE, namespace: str = NAMESPACE) -> list[Document]:
    """The documents of a release with these values in place of the chart's own. Raises HelmError."""
    texts = [text for path, text in _rendered(json.dumps(values or {}), name, namespace).items() if path != NOTES]
    loaded = (document for text in texts for document in yaml.load_all(text, Loader=yaml.CSafeLoader))
    return [document for document in loaded if document is not None]


@cache
def _rendered(values: str, name: str, namespace: str) -> dict[str, str]:
    return _chart().render(json.loads(values), name=name, namespace=namespace)


def notes(values: Values | None = None) -> str:
    """What Helm says after an installation."""
    return _rendered(json.dumps(values or {}), RELEASE, NAMESPACE)[NOTES]


def with_values(base: Values, changes: Values) -> Values:
    """Values with some changed, as a second file of values changes them."""
    merged = deepcopy(base)
    for key, value in changes.items():
        known = merged.get(key)
        merged[key] = with_values(known, value) if isinstance(known, dict) and isinstance(value, dict) else value
    return merged


def of_kind(documents: list[Document], kind: str) -> list[Document]:
    """Those of a kind."""
    return [document for document in documents if document["kind"] == kind]


def workloads(documents: list[Document]) -> dict[str, Document]:
    """The Deployments and StatefulSets by their service."""
    return {
        document["metadata"]["labels"]["app.kubernetes.io/component"]: document
        for document in (*of_kind(documents, "Deployment"), *of_kind(documents, "StatefulSet"))
    }


def pod_templates(documents: list[Document]) -> dict[str, Document]:
    """The pods' metadata and specifications by their service."""
    return {name: workload["spec"]["template"] for name, workload in workloads(documents).items()}


def containers(pod: Document) -> Iterator[Document]:
    """All containers of a pod's specification."""
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        yield from pod.get(kind, [])


def selects(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Whether matchLabels fit labels."""
    return selector.items() <= labels.items()


def environment(documents: list[Document], service: str) -> dict[str, str]:
    """The variables of a service's container as the kubelet would make them; those of Secrets hold a placeholder."""
    (container,) = pod_templates(documents)[service]["spec"]["containers"]
    config_maps = {each["metadata"]["name"]: each["data"] for each in of_kind(documents, "ConfigMap")}
    variables: dict[str, str] = {}
    for source in container["envFrom"]:
        variables |= config_maps[source["configMapRef"]["name"]]
    for variable in container["env"]:
        variables[variable["name"]] = variable["value"] if "value" in variable else _resolved(variable, container)
    return variables


def _resolved(variable: Document, container: Document) -> str:
    source = variable["valueFrom"]
    if "secretKeyRef" in source:
        return f"scheme://{source['secretKeyRef']['name']}/{source['secretKeyRef']['key']}"
    section, resource = source["resourceFieldRef"]["resource"].split(".")
    return str(container["resources"][section][resource])
