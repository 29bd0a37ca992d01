"""What Helm makes of the chart is what Kubernetes and we ourselves take."""

import re

import kubernetes_validate
import pytest
import yaml
from typer.testing import CliRunner

from icat_stream.cli.validate import app as validate
from plugins import charts

OURS = {"ServiceMonitor"}
EXAMPLES = {example.stem: example for example in charts.EXAMPLES}


def documents(name):
    text = (charts.KEPT / f"{name}.yaml").read_text()
    return [each for each in yaml.safe_load_all(text) if each]


def of_kind(name, kind):
    found = [each for each in documents(name) if each["kind"] == kind]
    return {each["metadata"]["name"]: each for each in found}


def pods(name):
    return {
        each: deployment["spec"]["template"]["spec"]
        for each, deployment in of_kind(name, "Deployment").items()
    }


@pytest.fixture(params=EXAMPLES)
def name(request):
    return request.param


def test_the_kept_output_is_of_this_chart(name):
    head = (charts.KEPT / f"{name}.yaml").read_text().partition("\n")[0]
    said = f"# chart {charts.fingerprint(EXAMPLES[name])}"
    assert head == said, "the chart has changed: python tests/plugins/charts.py"


@pytest.mark.parametrize("version", ["1.27", "1.37"])
def test_kubernetes_knows_every_key(name, version):
    for each in documents(name):
        if each["kind"] not in OURS:
            kubernetes_validate.validate(each, version, strict=True)


def test_the_configuration_is_valid(name, tmp_path):
    configs = of_kind(name, "ConfigMap")
    text = configs["site"]["data"]["config.yaml"]
    schemas = tmp_path / "schemas"
    schemas.mkdir()
    shipped = configs.get("site-schemas", {"data": {}})["data"]
    for file, content in shipped.items():
        (schemas / file).write_text(content)
    if not shipped:
        text = re.sub(r"^schemas: .*\n", "", text, flags=re.MULTILINE)
        text = text.replace("file_written", "datasets")
    file = tmp_path / "config.yaml"
    file.write_text(text.replace("/etc/icat-stream/schemas", str(schemas)))
    done = CliRunner().invoke(validate, [str(file)])
    assert done.exit_code == 0, done.output


def test_every_pod_is_well_protected_and_has_what_it_names(name):
    for pod in pods(name).values():
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["automountServiceAccountToken"] is False
        volumes = {volume["name"] for volume in pod["volumes"]}
        [container] = pod["containers"]
        protection = container["securityContext"]
        assert protection["readOnlyRootFilesystem"] is True
        assert protection["allowPrivilegeEscalation"] is False
        assert protection["capabilities"] == {"drop": ["ALL"]}
        assert {mount["name"] for mount in container["volumeMounts"]} == volumes
        ports = {port["name"] for port in container["ports"]}
        probes = [v for key, v in container.items() if key.endswith("Probe")]
        assert len(probes) >= 2
        for probe in probes:
            [how] = probe.keys() & {"httpGet", "tcpSocket"}
            assert probe[how]["port"] in ports


def test_nothing_secret_is_in_it(name):
    assert not of_kind(name, "Secret")
    for config in of_kind(name, "ConfigMap").values():
        text = str(config["data"])
        assert not re.search(r"password'?: (?!.*_file)", text)


def test_each_set_runs_its_consumers_and_no_other():
    found = {
        each: (deployment["spec"]["replicas"], pod["containers"][0]["args"][2:])
        for (each, deployment), pod in zip(
            of_kind("everything", "Deployment").items(),
            pods("everything").values(),
            strict=True,
        )
        if not each.endswith("-web")
    }
    files = ["--consumer", "files"]
    people = ["--consumer", "users", "--consumer", "investigations"]
    assert found == {"site-files": (10, files), "site-people": (2, people)}
    budgets = of_kind("everything", "PodDisruptionBudget")
    assert set(budgets) == set(found)
    for each, budget in budgets.items():
        selector = budget["spec"]["selector"]["matchLabels"]
        template = of_kind("everything", "Deployment")[each]["spec"]["template"]
        assert selector.items() <= template["metadata"]["labels"].items()


def test_an_sqlite_journal_has_one_process_at_a_time():
    [deployment] = of_kind("one-node", "Deployment").values()
    assert deployment["spec"]["replicas"] == 1
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}


def test_prometheus_finds_the_health_of_the_daemons():
    [monitor] = of_kind("everything", "ServiceMonitor").values()
    [service] = [
        each
        for each in of_kind("everything", "Service").values()
        if each["metadata"]["name"].endswith("-health")
    ]
    wanted = monitor["spec"]["selector"]["matchLabels"]
    assert wanted.items() <= service["metadata"]["labels"].items()
    # The alert IcatStreamGone asks for job="icat-stream".
    label = service["metadata"]["labels"][monitor["spec"]["jobLabel"]]
    assert label == "icat-stream"
    [endpoint] = monitor["spec"]["endpoints"]
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    selected = service["spec"]["selector"].items()
    deployments = of_kind("everything", "Deployment")
    labels = {n: d["spec"]["template"]["metadata"] for n, d in deployments.items()}
    reached = {n for n, each in labels.items() if selected <= each["labels"].items()}
    assert reached == {"site-files", "site-people"}
