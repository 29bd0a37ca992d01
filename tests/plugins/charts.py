"""The Helm chart's output for its examples, which the tests look at.

    python tests/plugins/charts.py

Helm is built from its sources, where Go is, into ``.build/helm``.
"""

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "helm" / "icat-stream"
EXAMPLES = sorted((ROOT / "deploy" / "helm" / "examples").glob("*.yaml"))
KEPT = ROOT / "tests" / "docs" / "charts"
HELM = "helm.sh/helm/v3/cmd/helm@v3.22.0"
CLUSTER = ["--kube-version", "1.34.0"]
# What the chart refuses, and with which words.
REFUSED = {
    "SQLite journal is for one instance": ["--set", "sets.all.replicas=2"],
    "needs journalClaim": ["--set", "journalClaim="],
    "each needs its list of consumers": ["--set", "sets.other.replicas=1"],
    "public_url of https": ["--set", "web.enabled=true"],
    "reads the journal from a pod of its own": [
        *("--set", "web.enabled=true"),
        *("--set", "config.web.public_url=https://a.example.org"),
        *("--set", "config.web.trusted_proxies={10.0.0.1}"),
    ],
    "repository": ["--set", "image.repository="],
}


def fingerprint(example: Path) -> str:
    """Return a hash of all that makes the output for an example."""
    digest = hashlib.sha256()
    for file in [*sorted(p for p in CHART.rglob("*") if p.is_file()), example]:
        digest.update(f"{file.relative_to(ROOT)}\n".encode() + file.read_bytes())
    return digest.hexdigest()


def rendered(helm: Path, example: Path, *more: str) -> str:
    """Return the output; what helm says of a refusal is its error."""
    command = [helm, "template", "site", CHART, *CLUSTER, "-f", example, *more]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def main() -> None:
    helm = built()
    for example in EXAMPLES:
        lint = [helm, "lint", "--strict", CHART, *CLUSTER, "-f", example]
        subprocess.run(lint, check=True)
        kept = KEPT / example.name
        kept.parent.mkdir(exist_ok=True)
        head = f"# chart {fingerprint(example)}\n"
        kept.write_text(head + "\n".join(_lines(rendered(helm, example))) + "\n")
        sys.stdout.write(f"{kept.relative_to(ROOT)}\n")
    one_node = next(each for each in EXAMPLES if each.stem == "one-node")
    for words, more in REFUSED.items():
        try:
            rendered(helm, one_node, *more)
        except subprocess.CalledProcessError as error:
            if words.lower() not in error.stderr.lower():
                sys.exit(f"{more}: expected {words!r}, not: {error.stderr}")
        else:
            sys.exit(f"{more} is not refused")
    sys.stdout.write(f"{len(REFUSED)} wrong values are refused\n")


def built() -> Path:
    """Return helm, made if it is not there."""
    folder = ROOT / ".build" / "helm"
    if not (folder / "helm").exists():
        folder.mkdir(parents=True, exist_ok=True)
        environment = os.environ | {"GOBIN": str(folder)}
        subprocess.run(["go", "install", HELM], env=environment, check=True)
    return folder / "helm"


def _lines(text: str) -> Iterator[str]:
    # Helm leaves the blanks of its conditions.
    return (line.rstrip() for line in text.splitlines() if line.strip())


if __name__ == "__main__":
    main()
