"""Measures `dcp validate` against tools that validate YAML with a JSON Schema."""

import json
import os
import shutil
import statistics
import sys
from pathlib import Path

from .common import CACHE, NO_GOAL, REPETITIONS, check_output, corpus, log, peak_memory, run, wall_time

PEERS = {"check-jsonschema": "0.39.0", "ajv-cli": "5.0.0", "kubeconform": "v0.8.0"}
SLOW = ("check-jsonschema",)
"""Peers that validate one file after the other, measured with some of the files only."""
SUBSETS = (250, 500)
"""Numbers of files for slow peers. The line through both times separates the start from the cost of a file."""


def install() -> dict:
    """Installs the peers. Returns a function for each that builds its command line, and logs peers that are missing."""
    CACHE.mkdir(parents=True, exist_ok=True)
    peers = {}
    attempts = {"check-jsonschema": install_check_jsonschema, "ajv-cli": install_ajv, "kubeconform": install_kubeconform}
    for name, attempt in attempts.items():
        try:
            peers[name] = attempt(PEERS[name])
        except (OSError, SystemExit) as error:
            log(f"MISSING: {name} {PEERS[name]} is not installed: {error}")
    return peers


def install_check_jsonschema(version: str):
    venv = CACHE / f"check-jsonschema-{version}"
    program = venv / "bin" / "check-jsonschema"
    if not program.exists():
        check_output([sys.executable, "-m", "venv", venv])
        check_output([venv / "bin" / "pip", "install", "-q", f"check-jsonschema=={version}"])
    return lambda schema, folder, files: [program, "--schemafile", schema, *files]


def install_ajv(version: str):
    folder = CACHE / f"ajv-cli-{version}"
    program = folder / "node_modules" / ".bin" / "ajv"
    if not program.exists():
        folder.mkdir(parents=True, exist_ok=True)
        check_output(["npm", "install", "--prefix", folder, "--no-audit", "--no-fund", f"ajv-cli@{version}"])
    options = ["--spec=draft2020", "--strict=false", "--validate-formats=false", "--errors=no"]
    return lambda schema, folder, files: [program, "validate", *options, "-s", schema, "-d", f"{folder}/**/*.yaml"]


def install_kubeconform(version: str):
    folder = CACHE / f"kubeconform-{version}"
    program = folder / "kubeconform"
    if not program.exists():
        environment = os.environ | {"GOBIN": str(folder)}
        check_output(["go", "install", f"github.com/yannh/kubeconform/cmd/kubeconform@{version}"], env=environment)
    cores = str(os.cpu_count() or 1)
    # kubeconform derives the name of the schema from the kind of the manifest, in lower case.
    return lambda schema, folder, files: [program, "-n", cores, "-schema-location", f"{schema.parent}/{{{{.ResourceKind}}}}.json", folder]


def manifests(folder: Path) -> list:
    return sorted(path for path in folder.rglob("*.yaml") if path.name != "dcp.yaml")


def subset(folder: Path, count: int) -> Path:
    """Returns a folder with some of the manifests, evenly spread."""
    part = CACHE / f"{folder.name}-{count}"
    if not part.exists():
        files = manifests(folder)
        part.mkdir()
        for number, path in enumerate(files[:: max(1, len(files) // count)][:count]):
            shutil.copy(path, part / f"{number:05}.yaml")
    return part


def broken_folder(folder: Path) -> Path:
    """Returns a folder with one invalid manifest."""
    broken = CACHE / "broken"
    shutil.rmtree(broken, ignore_errors=True)
    broken.mkdir()
    text = manifests(folder)[0].read_text()
    (broken / "broken.yaml").write_text(text.replace("spec:\n", "spec:\n  nonsense: true\n", 1))
    return broken


def measure(dcp: Path, bench: Path, count: int) -> list:
    """Measures this part, and returns the rows of its table."""
    folder, large = corpus(bench, count), corpus(bench, 10 * count)
    schema = CACHE / "schema" / "coreetl.json"
    schema.parent.mkdir(parents=True, exist_ok=True)
    schema.write_text(check_output([dcp, "schema", "manifest"]))
    subsets, broken = {size: subset(folder, size) for size in SUBSETS}, broken_folder(folder)
    peers = fit_peers(install(), schema, subsets[SUBSETS[-1]], broken)

    log("timing the steps on one thread …")
    steps = json.loads(check_output([bench, "measure", folder, "--repeat", REPETITIONS]))
    seconds = {name: statistics.median(times) for name, times in steps["seconds"].items()}

    validate = [dcp, "validate", "--project", folder]
    rows = rows_of_steps(seconds, count)
    log("timing dcp and its peers …")
    commands = {name: call(schema, folder / "manifests", []) for name, call in peers.items() if name not in SLOW}
    slow = {(name, size): peers[name](schema, part, manifests(part)) for name in SLOW if name in peers for size, part in subsets.items()}
    cache = folder / ".dcp"
    times = interleaved_times({"dcp": validate, **commands, **slow}, list(slow), lambda: shutil.rmtree(cache, ignore_errors=True))
    for name in {name for name, _ in slow}:
        times[name] = extrapolate({size: times[name, size] for size in SUBSETS}, count)
    goals = {"check-jsonschema": 50, "ajv-cli": 5, "kubeconform": 3}
    for name, goal in goals.items():
        if name not in times:
            rows.append((f"`dcp validate` against {name}", f"≥ {goal}×", "not measured: not installed", None))
            continue
        ratio = times[name] / times["dcp"]
        note = f", from {' and '.join(map(str, SUBSETS))} files" if name in SLOW else ""
        value = f"{times['dcp']:.2f} s against {times[name]:.1f} s{note}: {ratio:.1f}×"
        rows.append((f"`dcp validate` against {name} {PEERS[name]}, {count} files", f"≥ {goal}×", value, ratio >= goal))
    rows += rows_of_cache(validate, manifests(folder), times.get("ajv-cli"))
    log("timing dcp with ten times as many manifests …")
    large_cache = large / ".dcp"
    more = statistics.median(wall_time([dcp, "validate", "--project", large], before=lambda: shutil.rmtree(large_cache, ignore_errors=True)) for _ in range(3))
    ratio = more / times["dcp"]
    rows.append((f"{10 * count} manifests against {count}", "≤ 11×", f"{more:.2f} s against {times['dcp']:.2f} s: {ratio:.1f}×", ratio <= 11))
    memory = [f"{peak_memory([dcp, 'validate', '--project', at]):.0f} MiB" for at in (folder, large)]
    rows.append((f"peak memory of {count} and {10 * count} manifests", NO_GOAL, " and ".join(memory), True))
    return rows


def extrapolate(seconds: dict, count: int) -> float:
    """Extrapolates the time of `count` files linearly from the times of two smaller numbers of files."""
    (few, first), (many, second) = sorted(seconds.items())
    slope = (second - first) / (many - few)
    if slope <= 0:
        raise SystemExit(f"bench/run: {many} files took {second:.2f} s, and {few} took {first:.2f} s; measure again on an idle machine")
    return first + slope * (count - few)


def fit_peers(peers: dict, schema: Path, good: Path, bad: Path) -> dict:
    """Returns the peers that accept valid manifests and reject a broken one."""
    fit = {}
    for name, call in peers.items():
        accepts = run(call(schema, good, manifests(good))).returncode == 0
        rejects = run(call(schema, bad, manifests(bad))).returncode != 0
        if accepts and rejects:
            fit[name] = call
        else:
            log(f"UNFIT: {name} accepts valid manifests: {accepts}; rejects a broken one: {rejects}")
    return fit


def rows_of_steps(seconds: dict, count: int) -> list:
    def against(goal: float, mine: str, theirs: str) -> tuple:
        ratio = seconds[mine] / seconds[theirs]
        return f"≤ {goal:.1f}×", f"{seconds[mine] * per:.1f} µs against {seconds[theirs] * per:.1f} µs: {ratio:.2f}×", ratio <= goal

    per = 1e6 / count
    value = f"reading {seconds['read'] * per:.1f} µs, events {seconds['events'] * per:.1f} µs a manifest"
    return [
        ("one thread: reading, and events of `granit-parser`", NO_GOAL, value, True),
        ("one thread: spanned tree against `serde_yaml_ng` into `Value`", *against(1.0, "tree", "serde_yaml_ng")),
        ("one thread: the same with `granit-parser`, as for YAML that is not plain", NO_GOAL, against(1.0, "tree_of_any", "serde_yaml_ng")[1], True),
        ("one thread: all of `validate` against reading and a spanned tree with `granit-parser`", *against(1.5, "validate", "read_and_tree_of_any")),
        ("one thread: all of `validate` against reading and the spanned tree of plain YAML", NO_GOAL, against(1.5, "validate", "read_and_tree")[1], True),
    ]


def rows_of_cache(validate: list, files: list, ajv: float | None) -> list:
    """Measures a second `dcp validate`: without changes, with one changed file, and with one renamed workload."""
    log("timing dcp with its cache …")
    wall_time(validate)
    same = statistics.median(wall_time(validate) for _ in range(REPETITIONS))

    def after(old: str, new: str) -> float:
        times = []
        for number in range(REPETITIONS):
            path = files[number * len(files) // REPETITIONS]
            text = path.read_text()
            path.write_text(text.replace(old, new, 1))
            times.append(wall_time(validate))
            path.write_text(text)
            wall_time(validate)
        return statistics.median(times)

    one, renamed = after("owner: ", "owner: another-"), after("  name: ", "  name: another-")
    name, version = "ajv-cli", PEERS["ajv-cli"]
    if ajv is None:
        first = (f"`dcp validate` without changes against {name}", "≥ 15×", "not measured: not installed", None)
    else:
        value = f"{same:.3f} s against {ajv:.1f} s: {ajv / same:.1f}×"
        first = (f"`dcp validate` without changes since the last one against {name} {version}", "≥ 15×", value, ajv / same >= 15)
    return [
        first,
        (f"`dcp validate` with one changed file of {len(files)}", "≤ 60 ms", f"{one * 1000:.0f} ms", one <= 0.060),
        (f"`dcp validate` with one renamed workload of {len(files)}", NO_GOAL, f"{renamed * 1000:.0f} ms", True),
    ]


def interleaved_times(commands: dict, once: list, before) -> dict:
    """Returns median times. The commands take turns, so that a disturbance affects all. `before` runs before each."""
    times = {name: [] for name in commands}
    for round_number in range(REPETITIONS + 1):
        for name, command in commands.items():
            if name in once and round_number > 2:
                continue
            seconds = wall_time(command, before=before)
            if round_number > 0:  # The first round warms up.
                times[name].append(seconds)
    return {name: statistics.median(all_times) for name, all_times in times.items()}
