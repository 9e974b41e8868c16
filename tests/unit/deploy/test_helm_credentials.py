"""Every secret comes from a Secret of the operator's, with the files that `veilface credentials create` makes."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from tests.unit.deploy.chart import (
    CHART,
    NAMESPACE,
    RELEASE,
    REPOSITORY,
    SERVICES,
    VALUE_SETS,
    Document,
    Values,
    environment,
    of_kind,
    pod_templates,
    render,
)
from veilface.common.pki import CertificateAuthority, load_certificate
from veilface.common.settings import TlsSettings
from veilface.common.tls import WatchedTlsFiles

CREDENTIALS = Path("/etc/veilface/credentials")
TLS_FILES = {"tls.crt", "tls.key", "ca.crt"}
WITH_CERT_MANAGER: Values = {"certManager": {"enabled": True, "issuerRef": {"name": "veilface"}}}
SECRET_SETTINGS = {"VEILFACE_DATABASE_URL", "VEILFACE_REDIS_URL", "VEILFACE_MASTER_KEY"}
KEY_MATERIAL = re.compile(r"-----BEGIN|PRIVATE KEY|://[^/\s]+:[^/\s]+@")

every_service = pytest.mark.parametrize("service", SERVICES)
every_value_set = pytest.mark.parametrize("values", VALUE_SETS.values(), ids=VALUE_SETS.keys())


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[list[str]]]:
    """The folder in which the README's commands were run, and what they called kubectl and helm with."""
    folder = tmp_path_factory.mktemp("installation")
    (commands,) = re.findall(
        r"<!-- run: cluster -->\n```sh\n(.*?)```", (REPOSITORY / "README.md").read_text(), re.DOTALL
    )
    for name in ("kubectl", "helm"):
        path = folder / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f'#!/bin/sh\necho {name} "$@" >> "{folder}/calls"\n')
        path.chmod(0o755)
    path = f"{folder}/bin:{Path(sys.executable).parent}:{os.environ['PATH']}"
    subprocess.run(["bash", "-euc", commands], cwd=folder, env=os.environ | {"PATH": path}, check=True, timeout=60)
    return folder, [line.split() for line in (folder / "calls").read_text().splitlines()]


@pytest.fixture(scope="module")
def deployment(installation: tuple[Path, list[list[str]]]) -> Path:
    """The credentials that the README's command makes."""
    return installation[0] / "credentials"


def sources(service: str, values: Values | None = None) -> dict[str, set[str]]:
    """The files that are mounted as a service's credentials, by their Secret."""
    volumes = pod_templates(render(values))[service]["spec"]["volumes"]
    (volume,) = [volume for volume in volumes if volume["name"] == "credentials"]
    assert all(
        item["key"] == item["path"] for each in volume["projected"]["sources"] for item in each["secret"]["items"]
    )
    return {
        each["secret"]["name"]: {item["path"] for item in each["secret"]["items"]}
        for each in volume["projected"]["sources"]
    }


def files_in_use(service: str, values: Values | None = None) -> set[str]:
    """The credentials that a service's settings name."""
    paths = [Path(text) for text in environment(render(values), service).values()]
    return {path.name for path in paths if path.parent == CREDENTIALS}


def test_the_commands_of_the_readme_install_the_chart_with_the_secrets_that_it_mounts(installation):
    *secrets, install = installation[1]
    assert install == ["helm", "install", RELEASE, "deploy/helm/veilface", "--namespace", NAMESPACE]
    assert (REPOSITORY / install[3]).samefile(CHART)
    create = ["kubectl", "--namespace", NAMESPACE, "create", "secret", "generic"]
    assert secrets == [[*create, f"veilface-{name}", f"--from-file=credentials/{name}"] for name in SERVICES]


@every_service
def test_mounted_files_are_those_that_the_command_makes_and_that_the_settings_name(service, deployment):
    made = {path.name for path in (deployment / service).iterdir()}
    assert sources(service) == {f"veilface-{service}": made}
    assert files_in_use(service) == made


@every_service
def test_with_cert_manager_the_tls_files_come_from_its_secret_alone(service, deployment):
    made = {path.name for path in (deployment / service).iterdir()}
    assert sources(service, WITH_CERT_MANAGER) == {
        f"veilface-{service}": made - TLS_FILES,
        f"veilface-{service}-tls": TLS_FILES,
    }


@every_service
def test_certificates_of_cert_manager_name_the_identity_and_the_hosts_of_the_service(service, deployment):
    certificates = {
        each["metadata"]["name"]: each["spec"] for each in of_kind(render(WITH_CERT_MANAGER), "Certificate")
    }
    specification = certificates[f"veilface-{service}"]
    made = load_certificate(deployment / service / "tls.crt")
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert specification["uris"] == names.get_values_for_type(x509.UniformResourceIdentifier)
    assert set(names.get_values_for_type(x509.DNSName)) - {"localhost"} <= set(specification["dnsNames"])
    assert specification["secretName"] == f"veilface-{service}-tls"
    assert specification["issuerRef"] == {"name": "veilface", "kind": "Issuer", "group": "cert-manager.io"}
    assert {"server auth", "client auth"} <= set(specification["usages"])


def test_the_key_service_is_called_by_a_name_in_its_certificate(deployment):
    names = dns_names(load_certificate(deployment / "keys" / "tls.crt"))
    for service in ("embedding", "matching"):
        address = environment(render(), service)["VEILFACE_KEY_SERVICE"]
        assert address.removeprefix("dns:///").rpartition(":")[0] in names


def test_matchers_find_each_other_behind_their_service_and_by_a_name_in_their_certificate(deployment):
    peers = environment(render(), "matching")["VEILFACE_PEERS"]
    host, _, port = peers.removeprefix("dns:///").rpartition(":")
    (service,) = [each for each in of_kind(render(), "Service") if each["metadata"]["name"] == host.partition(".")[0]]
    assert service["spec"]["clusterIP"] == "None"
    assert int(port) in {each["port"] for each in service["spec"]["ports"]}
    assert host in dns_names(load_certificate(deployment / "matching" / "tls.crt"))
    assert "VEILFACE_PEERS" not in environment(render({"matching": {"fanOut": False}}), "matching")


def test_a_master_key_from_elsewhere_is_not_mounted():
    assert "master.key" in sources("keys")["veilface-keys"]
    elsewhere = VALUE_SETS["a master key of a command"]
    assert "master.key" not in sources("keys", elsewhere)["veilface-keys"]
    assert "VEILFACE_MASTER_KEY_FILE" not in environment(render(elsewhere), "keys")


@pytest.mark.parametrize("service", ["embedding", "matching"])
def test_no_other_service_is_given_the_master_key_or_the_credentials_of_another(service):
    mounted = sources(service)
    assert set(mounted) == {f"veilface-{service}"}
    assert "master.key" not in mounted[f"veilface-{service}"]
    names = secret_names(pod_templates(render())[service]["spec"])
    assert f"veilface-{service}" in names
    assert {name for name in names if not name.startswith(f"veilface-{service}")} == set()


@every_value_set
def test_credentials_are_read_only_and_for_the_pods_group_alone(values):
    for template in pod_templates(render(values)).values():
        (container,) = template["spec"]["containers"]
        mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
        for volume in template["spec"]["volumes"]:
            held = volume.get("projected") or volume.get("secret")
            if held is not None and volume["name"] != "kms":
                assert held["defaultMode"] == 0o440
                assert mounts[volume["name"]]["readOnly"] is True


@every_value_set
def test_the_chart_renders_no_secret_and_takes_secret_settings_from_secrets_only(values):
    documents = render(values)
    assert secrets_in(documents) == []
    for template in pod_templates(documents).values():
        for variable in template["spec"]["containers"][0]["env"]:
            if variable["name"] in SECRET_SETTINGS:
                assert set(variable["valueFrom"]) == {"secretKeyRef"}


@pytest.mark.parametrize(
    "planted",
    [
        {"kind": "Secret", "metadata": {"name": "planted"}},
        {"kind": "ConfigMap", "metadata": {"name": "planted"}, "data": {"VEILFACE_DATABASE_URL": "sqlite:///x"}},
        {"kind": "ConfigMap", "metadata": {"name": "planted"}, "data": {"a": "-----BEGIN EC PRIVATE KEY-----"}},
        {"kind": "ConfigMap", "metadata": {"name": "planted"}, "data": {"a": "redis://user:password@host"}},
    ],
)
def test_a_secret_in_the_render_would_be_found(planted):
    assert secrets_in([*render(), planted]) == ["planted"]


def test_names_of_secrets_can_be_chosen():
    values: Values = {
        "keys": {
            "credentials": {"existingSecret": "vault"},
            "database": {"existingSecret": "vault-db", "secretKey": "url"},
        },
        "matching": {"redis": {"existingSecret": "cache", "secretKey": "url"}},
    }
    templates = pod_templates(render(values))
    assert {"vault", "vault-db"} <= secret_names(templates["keys"]["spec"])
    assert "cache" in secret_names(templates["matching"]["spec"])
    assert environment(render(values), "keys")["VEILFACE_DATABASE_URL"] == "scheme://vault-db/url"
    assert secret_names(templates["keys"]["spec"]).isdisjoint({"veilface-keys", "veilface-keys-database"})


@pytest.mark.parametrize(("client_certificate", "files"), [(False, {"ca.crt"}), (True, TLS_FILES)])
def test_the_files_of_redis_are_mounted_where_the_settings_look(client_certificate, files):
    tls = {"existingSecret": "redis-tls", "clientCertificate": client_certificate}
    documents = render({"matching": {"redis": {"tls": tls}}})
    volumes = {each["name"]: each for each in pod_templates(documents)["matching"]["spec"]["volumes"]}
    assert {item["path"] for item in volumes["redis-tls"]["secret"]["items"]} == files
    named = [
        Path(text) for text in environment(documents, "matching").values() if text.startswith("/etc/veilface/redis/")
    ]
    assert {path.name for path in named} == files


def test_a_renewed_secret_is_taken_up_while_the_process_runs(tmp_path):
    # The kubelet writes new files into a folder beside the old ones and exchanges one link.
    authority = CertificateAuthority.create()
    current = tmp_path / "..data"
    for generation in ("first", "second"):
        folder = tmp_path / generation
        folder.mkdir()
        authority.issue("spiffe://veilface/keys").save(folder, "tls")
        authority.save(folder)
    current.symlink_to("first")
    for name in TLS_FILES:
        (tmp_path / name).symlink_to(f"..data/{name}")
    files = WatchedTlsFiles(
        TlsSettings(certificate=tmp_path / "tls.crt", private_key=tmp_path / "tls.key", ca=tmp_path / "ca.crt")
    )
    assert not files.refresh()
    (tmp_path / "..new").symlink_to("second")
    (tmp_path / "..new").replace(current)
    assert files.refresh()
    assert files.contents.certificate_chain == (tmp_path / "second" / "tls.crt").read_bytes()


def test_a_database_authority_is_mounted_for_the_url_to_name():
    documents = render({"keys": {"database": {"tls": {"existingSecret": "keys-database-tls"}}}})
    assert "keys-database-tls" in secret_names(pod_templates(documents)["keys"]["spec"])
    assert "keys-database-tls" not in secret_names(pod_templates(documents)["matching"]["spec"])


def dns_names(certificate: x509.Certificate) -> list[str]:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return names.get_values_for_type(x509.DNSName)


def secret_names(pod: Document) -> set[str]:
    """The Secrets that a pod refers to, wherever it does."""
    found: set[str] = set()

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            for key, value in node.items():
                if key in {"secret", "secretKeyRef", "secretRef"}:
                    found.add(value.get("secretName") or value["name"])
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(pod)
    return found


def secrets_in(documents: list[Document]) -> list[str]:
    """The names of documents that hold a secret, or look like it."""
    return [
        each["metadata"]["name"]
        for each in documents
        if each["kind"] == "Secret" or SECRET_SETTINGS & set(each.get("data", {})) or KEY_MATERIAL.search(str(each))
    ]
