"""The chart is one that Helm and Kubernetes accept."""

import shutil
import tarfile
from pathlib import Path

import helm_python
import kubernetes_validate
import pytest
from helm_python import Chart

import veilface
from tests.unit.deploy.chart import (
    CHART,
    NAMESPACE,
    NOTES,
    RELEASE,
    SERVICES,
    VALUE_SETS,
    Document,
    notes,
    of_kind,
    render,
    with_values,
)

KUBERNETES_VERSION = "1.32"
INFO = 1
# Not of Kubernetes itself, so that its schemas do not know them.
CUSTOM_KINDS = {"Certificate", "ServiceMonitor"}

every_value_set = pytest.mark.parametrize("values", VALUE_SETS.values(), ids=VALUE_SETS.keys())


def findings(chart: Path, values: dict[str, object] | None = None) -> list[str]:
    """What `helm lint --strict` finds beyond recommendations."""
    report = helm_python.lint(chart, values or {}, strict=True, namespace=NAMESPACE)
    return [*report["errors"], *(each["error"] for each in report["messages"] if each["severity"] > INFO)]


def copied_chart(folder: Path) -> Path:
    return Path(shutil.copytree(CHART, folder / "veilface"))


@every_value_set
def test_strict_lint_finds_nothing(values):
    assert findings(CHART, values) == []


def test_lint_would_find_a_broken_template(tmp_path):
    chart = copied_chart(tmp_path)
    (chart / "templates" / "broken.yaml").write_text("kind: {{ .Values.missing.name }}\n")
    assert findings(chart) != []


@every_value_set
def test_kubernetes_knows_every_field_of_every_document(values):
    documents = [each for each in render(values) if each["kind"] not in CUSTOM_KINDS]
    assert documents
    for document in documents:
        kubernetes_validate.validate(document, KUBERNETES_VERSION, strict=True)


def test_a_field_that_kubernetes_does_not_know_would_be_found():
    (document, *_) = of_kind(render(), "Service")
    kubernetes_validate.validate(document, KUBERNETES_VERSION, strict=True)
    document["spec"]["selektor"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="selektor"):
        kubernetes_validate.validate(document, KUBERNETES_VERSION, strict=True)


def test_other_kinds_are_made_only_when_they_are_asked_for():
    assert CUSTOM_KINDS.isdisjoint(each["kind"] for each in render())
    assert {each["kind"] for each in render(VALUE_SETS["everything"])} >= CUSTOM_KINDS


@every_value_set
def test_no_object_is_there_twice_and_all_are_in_the_namespace(values):
    documents = render(values)
    names = [(each["kind"], each["metadata"]["name"]) for each in documents]
    assert len(set(names)) == len(names)
    assert {each["metadata"]["namespace"] for each in documents} == {NAMESPACE}


def test_releases_beside_each_other_share_no_name():
    first, second = ({(each["kind"], each["metadata"]["name"]) for each in render(name=name)} for name in ("a", "b"))
    assert first
    assert first.isdisjoint(second)


def test_long_names_stay_within_what_kubernetes_allows():
    names = [each["metadata"]["name"] for each in render(name="a" * 53)]
    assert max(map(len, names)) <= 63
    # A StatefulSet's revisions are labels, its name and a hash of 10.
    assert max(len(each["metadata"]["name"]) for each in of_kind(render(name="a" * 53), "StatefulSet")) <= 52


def test_the_chart_is_of_the_version_that_it_installs():
    with Chart.load(CHART) as chart:
        assert chart.metadata["appVersion"] == veilface.__version__
    images = [each["spec"]["template"]["spec"]["containers"][0]["image"] for each in workload_documents(render())]
    assert sorted(images) == [f"veilface-{name}:{veilface.__version__}" for name in ("embedding", "keys", "matching")]


def test_an_image_can_be_pinned_by_its_digest():
    images = [each["spec"]["template"]["spec"]["containers"][0]["image"] for each in workload_documents(everything())]
    assert {image.partition("@")[2] for image in images} == {f"sha256:{'0' * 64}"}
    assert {image.rpartition("/")[0] for image in images} == {"registry.example.org/biometrics"}


def test_the_package_holds_the_chart_and_renders_the_same(tmp_path):
    archive = helm_python.package(CHART, destination=tmp_path)
    with tarfile.open(archive) as tar:
        names = set(tar.getnames())
    assert {"veilface/Chart.yaml", "veilface/values.schema.json", NOTES} <= names
    with Chart.load(archive) as packaged, Chart.load(CHART) as chart:
        assert packaged.render({}, name=RELEASE) == chart.render({}, name=RELEASE)


@every_value_set
def test_the_notes_say_how_every_secret_of_the_services_is_made(values):
    without_cert_manager = with_values(values, {"certManager": {"enabled": False}})
    awaited = awaited_secrets(without_cert_manager)
    assert awaited
    assert {name for name in awaited if f"create secret generic {name} " not in notes(without_cert_manager)} == set()


def test_the_notes_say_who_may_call_only_where_policies_say_it():
    assert "veilface-caller=true" in notes()
    assert "veilface-caller" not in notes({"networkPolicy": {"enabled": False}})


def test_every_value_has_a_comment_of_its_own_or_of_another_service():
    assert undocumented((CHART / "values.yaml").read_text()) == set()


def test_a_value_without_a_comment_would_be_found():
    assert undocumented("# What it is.\nfirst: 1\nsecond: 2\nkeys:\n  third: 3\n") == {("second",), ("third",)}


def everything() -> list[Document]:
    return render(VALUE_SETS["everything"])


def workload_documents(documents: list[Document]) -> list[Document]:
    return [*of_kind(documents, "Deployment"), *of_kind(documents, "StatefulSet")]


def awaited_secrets(values: dict[str, object]) -> set[str]:
    """The Secrets of a service's own files and URLs."""
    names: set[str] = set()
    for workload in workload_documents(render(values)):
        pod = workload["spec"]["template"]["spec"]
        (credentials,) = [volume for volume in pod["volumes"] if volume["name"] == "credentials"]
        names |= {source["secret"]["name"] for source in credentials["projected"]["sources"]}
        references = [variable.get("valueFrom", {}).get("secretKeyRef") for variable in pod["containers"][0]["env"]]
        names |= {reference["name"] for reference in references if reference is not None}
    return names


def undocumented(text: str) -> set[tuple[str, ...]]:
    """The paths of values, without the service, that no comment stands above, nor above what they are part of."""
    found: dict[tuple[str, ...], bool] = {}
    path: list[tuple[int, str, bool]] = []
    before = ""
    for line in text.splitlines():
        key, colon, _ = line.strip().partition(":")
        if line.strip().startswith("#") or not colon or key.startswith("-"):
            before = line.strip()
            continue
        indent = len(line) - len(line.lstrip())
        path = [*(each for each in path if each[0] < indent), (indent, key, before.startswith("#"))]
        names = tuple(each[1] for each in path if each[1] not in SERVICES)
        found[names] = found.get(names, False) or any(each[2] for each in path)
        before = ""
    sections = {names[:-1] for names in found}
    return {names for names, documented in found.items() if names and not documented and names not in sections}
