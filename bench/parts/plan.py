"""Measures `dcp plan` and `dcp apply` against terraform, with one resource for each manifest."""

import json
import os
import shutil
import statistics
import uuid
from pathlib import Path

from .common import CACHE, NO_GOAL, REPETITIONS, check_output, corpus, log, peak_memory, run, wall_time

QUIET = os.environ | {"TF_CLI_CONFIG_FILE": os.devnull, "CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1"}
OPTIONS = ["-input=false", "-no-color"]


def measure(dcp: Path, bench: Path, count: int) -> list:
    """Measures this part, and returns the rows of its table."""
    project = Project(dcp, corpus(bench, count))
    log(f"applying {count} manifests for the first time …")
    first = project.first_apply()
    log("planning without changes and with one edited file, and validating …")
    noop, cold, edited, validated = project.plans()
    memory = peak_memory(project.plan())
    terraform = shutil.which("terraform")
    rows = against_terraform(terraform, project.manifests, first, noop, memory) if terraform else rows_without_terraform()
    rows.append(("plan without changes and without a cache", NO_GOAL, f"{cold:.2f} s", True))
    ratio = edited / validated
    value = f"{edited:.2f} s against {validated:.2f} s: {ratio:.2f}×"
    rows.append((f"plan with one edited file of {count} against `dcp validate` without a cache", "≤ 1.2×", value, ratio <= 1.2))
    log("applying and planning ten times as many …")
    large = Project(dcp, corpus(bench, 10 * count))
    more_first = large.first_apply()
    more = statistics.median(wall_time(large.plan()) for _ in range(3))
    ratio = more / noop
    value = f"{more:.2f} s against {noop:.2f} s: {ratio:.1f}×"
    rows.append((f"plan without changes, {10 * count} manifests against {count}", "≤ 11×", value, ratio <= 11))
    value = f"{first:.1f} s and {more_first:.1f} s; {memory:.0f} MiB and {peak_memory(large.plan()):.0f} MiB"
    rows.append((f"first apply, and memory of a plan without changes, of {count} and {10 * count}", NO_GOAL, value, True))
    return rows


class Project:
    """Copy of a corpus, to be applied."""

    def __init__(self, dcp: Path, source: Path):
        self.dcp, self.folder = dcp, CACHE / "plan" / source.name
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(source, self.folder)
        self.manifests = sorted(path for path in self.folder.rglob("*.yaml") if path.name != "dcp.yaml")

    def plan(self) -> list:
        return [self.dcp, "--project", self.folder, "plan", "--detailed-exitcode"]

    def first_apply(self) -> float:
        seconds = wall_time([self.dcp, "--project", self.folder, "apply", "--auto-approve"])
        # Fills the cache. `plans` measures a plan without it.
        wall_time(self.plan())
        return seconds

    def plans(self) -> tuple:
        """Returns median times of plans: without changes, without changes and cache, with one edited file; and of `validate`."""
        times = {"noop": [], "cold": [], "edited": [], "validated": []}
        for number in range(REPETITIONS):
            times["noop"].append(wall_time(self.plan()))
            shutil.rmtree(self.folder / ".dcp" / "cache", ignore_errors=True)
            times["cold"].append(wall_time(self.plan()))
            path = self.manifests[number * len(self.manifests) // REPETITIONS]
            text = path.read_text()
            path.write_text(text.replace("owner: ", "owner: another-", 1))
            times["edited"].append(wall_time(self.plan(), exit_code=2))
            path.write_text(text)
            shutil.rmtree(self.folder / ".dcp" / "cache", ignore_errors=True)
            times["validated"].append(wall_time([self.dcp, "--project", self.folder, "validate"]))
            wall_time(self.plan())
        return tuple(statistics.median(all_times) for all_times in times.values())


def rows_without_terraform() -> list:
    log("MISSING: `terraform` is not installed")
    return [("plan and first apply against terraform", "≥ 50×", "not measured: terraform is not installed", None)]


def against_terraform(terraform: str, manifests: list, first: float, noop: float, memory: float) -> list:
    version = json.loads(check_output([terraform, "version", "-json"], env=QUIET))["terraform_version"]
    count, few = len(manifests), len(manifests) // 10
    log(f"terraform {version}: a first apply of {few} resources …")
    folder = terraform_folder(terraform, manifests[:few])
    theirs = 10 * wall_time([terraform, "apply", "-auto-approve", *OPTIONS], cwd=folder, env=QUIET)
    ratio = theirs / first
    value = f"{first:.1f} s against {theirs:.0f} s: {ratio:.0f}×"
    rows = [(f"first apply of {count} manifests against terraform {version}, ten times {few}", "≥ 50×", value, ratio >= 50)]
    log(f"terraform {version}: plans of {count} resources …")
    folder = terraform_folder(terraform, manifests)
    terraform_state(folder, manifests, version)
    plan = [terraform, f"-chdir={folder}", "plan", "-detailed-exitcode", *OPTIONS]
    theirs = statistics.median(wall_time(plan, env=QUIET) for _ in range(3))
    ratio = theirs / noop
    value = f"{noop:.2f} s against {theirs:.1f} s: {ratio:.0f}×"
    rows.append((f"plan without changes, {count} manifests against {count} resources", "≥ 50×", value, ratio >= 50))
    their_memory = peak_memory(plan, env=QUIET)
    ratio = memory / their_memory
    rows.append(("memory of that plan", "≤ 0.25×", f"{memory:.0f} MiB against {their_memory:.0f} MiB: {ratio:.2f}×", ratio <= 0.25))
    return rows


def terraform_folder(terraform: str, manifests: list) -> Path:
    """Writes a configuration with one `terraform_data` for each manifest, with its text as input."""
    folder = CACHE / "plan" / f"terraform-{len(manifests)}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    block = 'resource "terraform_data" "m{}" {{\n  input = file("{}")\n}}\n'
    (folder / "main.tf").write_text("".join(block.format(number, path) for number, path in enumerate(manifests)))
    done = run([terraform, f"-chdir={folder}", "init", *OPTIONS], env=QUIET)
    if done.returncode != 0:
        raise SystemExit(f"bench/run: terraform init failed:\n{done.stderr}")
    return folder


def terraform_state(folder: Path, manifests: list, version: str) -> None:
    """Writes the state that an apply would write, because terraform takes very long to apply.

    A plan exits with 2, which stops the benchmark, if the state differs from the configuration.
    """
    resources = []
    for number, path in enumerate(manifests):
        value = {"value": path.read_text(), "type": "string"}
        attributes = {"id": str(uuid.uuid4()), "input": value, "output": value, "triggers_replace": None}
        instance = {"schema_version": 0, "attributes": attributes, "sensitive_attributes": []}
        provider = 'provider["terraform.io/builtin/terraform"]'
        resource = {"mode": "managed", "type": "terraform_data", "name": f"m{number}", "provider": provider}
        resources.append(resource | {"instances": [instance]})
    head = {"version": 4, "terraform_version": version, "serial": 1, "lineage": str(uuid.uuid4())}
    state = head | {"outputs": {}, "resources": resources, "check_results": None}
    (folder / "terraform.tfstate").write_text(json.dumps(state, indent=2))
