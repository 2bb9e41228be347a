"""`dcp validate` against tools that hold YAML against a JSON Schema."""

import json
import os
import shutil
import statistics
import sys
from pathlib import Path

from .common import CACHE, REPETITIONS, corpus, must, peak, run, say, wall

PEERS = {"check-jsonschema": "0.39.0", "ajv-cli": "5.0.0", "kubeconform": "v0.8.0"}
SLOW = ("check-jsonschema",)
"""These take one file after the other, and are given some of them only."""
SUBSETS = (250, 500)
"""So many: what the start costs is in both times alike, and the line through them leaves it out of what a file costs."""


def install() -> dict:
    """The peers that could be installed, each with how to call it; and loudly, those that could not."""
    CACHE.mkdir(parents=True, exist_ok=True)
    peers = {}
    attempts = {"check-jsonschema": install_check_jsonschema, "ajv-cli": install_ajv, "kubeconform": install_kubeconform}
    for name, attempt in attempts.items():
        try:
            peers[name] = attempt(PEERS[name])
        except (OSError, SystemExit) as error:
            say(f"MISSING: {name} {PEERS[name]} could not be installed: {error}")
    return peers


def install_check_jsonschema(version: str):
    venv = CACHE / f"check-jsonschema-{version}"
    program = venv / "bin" / "check-jsonschema"
    if not program.exists():
        must([sys.executable, "-m", "venv", venv])
        must([venv / "bin" / "pip", "install", "-q", f"check-jsonschema=={version}"])
    return lambda schema, folder, files: [program, "--schemafile", schema, *files]


def install_ajv(version: str):
    folder = CACHE / f"ajv-cli-{version}"
    program = folder / "node_modules" / ".bin" / "ajv"
    if not program.exists():
        folder.mkdir(parents=True, exist_ok=True)
        must(["npm", "install", "--prefix", folder, "--no-audit", "--no-fund", f"ajv-cli@{version}"])
    options = ["--spec=draft2020", "--strict=false", "--validate-formats=false", "--errors=no"]
    return lambda schema, folder, files: [program, "validate", *options, "-s", schema, "-d", f"{folder}/**/*.yaml"]


def install_kubeconform(version: str):
    folder = CACHE / f"kubeconform-{version}"
    program = folder / "kubeconform"
    if not program.exists():
        environment = os.environ | {"GOBIN": str(folder)}
        must(["go", "install", f"github.com/yannh/kubeconform/cmd/kubeconform@{version}"], env=environment)
    cores = str(os.cpu_count() or 1)
    # The name of a schema is made of the kind of the manifest, in lower case.
    return lambda schema, folder, files: [program, "-n", cores, "-schema-location", f"{schema.parent}/{{{{.ResourceKind}}}}.json", folder]


def manifests(folder: Path) -> list:
    return sorted(path for path in folder.rglob("*.yaml") if path.name != "dcp.yaml")


def part_of(folder: Path, count: int) -> Path:
    """A folder with some of the manifests, spread over all of them."""
    part = CACHE / f"{folder.name}-{count}"
    if not part.exists():
        files = manifests(folder)
        part.mkdir()
        for number, path in enumerate(files[:: max(1, len(files) // count)][:count]):
            shutil.copy(path, part / f"{number:05}.yaml")
    return part


def broken_copy(folder: Path) -> Path:
    copy = CACHE / "broken"
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir()
    text = manifests(folder)[0].read_text()
    (copy / "broken.yaml").write_text(text.replace("spec:\n", "spec:\n  nonsense: true\n", 1))
    return copy


def measure(dcp: Path, bench: Path, count: int) -> list:
    """The rows of the table."""
    folder, large = corpus(bench, count), corpus(bench, 10 * count)
    schema = CACHE / "schema" / "coreetl.json"
    schema.parent.mkdir(parents=True, exist_ok=True)
    schema.write_text(must([dcp, "schema", "manifest"]))
    subsets, broken = {size: part_of(folder, size) for size in SUBSETS}, broken_copy(folder)
    subset = subsets[SUBSETS[-1]]
    peers = check_peers(install(), schema, subset, broken)

    say("timing the steps on one thread …")
    steps = json.loads(must([bench, "measure", folder, "--repeat", REPETITIONS]))
    seconds = {name: statistics.median(times) for name, times in steps["seconds"].items()}

    validate = [dcp, "validate", "--project", folder]
    rows = inside(seconds, count)
    say("timing dcp and its peers …")
    commands = {name: call(schema, folder / "manifests", []) for name, call in peers.items() if name not in SLOW}
    slow = {(name, size): peers[name](schema, part, manifests(part)) for name in SLOW if name in peers for size, part in subsets.items()}
    cache = folder / ".dcp"
    times = interleaved({"dcp": validate, **commands, **slow}, list(slow), lambda: shutil.rmtree(cache, ignore_errors=True))
    for name in {name for name, _ in slow}:
        times[name] = extrapolated({size: times[name, size] for size in SUBSETS}, count)
    goals = {"check-jsonschema": 50, "ajv-cli": 5, "kubeconform": 3}
    for name, goal in goals.items():
        if name not in times:
            rows.append((f"`dcp validate` against {name}", f"≥ {goal}×", "not measured: could not be installed", None))
            continue
        ratio = times[name] / times["dcp"]
        note = f", from {' and '.join(map(str, SUBSETS))} files" if name in SLOW else ""
        value = f"{times['dcp']:.2f} s against {times[name]:.1f} s{note}: {ratio:.1f}×"
        rows.append((f"`dcp validate` against {name} {PEERS[name]}, {count} files", f"≥ {goal}×", value, ratio >= goal))
    rows += cached(validate, manifests(folder), times.get("ajv-cli"))
    say("timing ten times as many …")
    large_cache = large / ".dcp"
    more = statistics.median(wall([dcp, "validate", "--project", large], before=lambda: shutil.rmtree(large_cache, ignore_errors=True)) for _ in range(3))
    ratio = more / times["dcp"]
    rows.append((f"{10 * count} manifests against {count}", "≤ 11×", f"{more:.2f} s against {times['dcp']:.2f} s: {ratio:.1f}×", ratio <= 11))
    memory = [f"{peak([dcp, 'validate', '--project', at]):.0f} MiB" for at in (folder, large)]
    rows.append((f"peak memory of {count} and {10 * count} manifests", "told", " and ".join(memory), True))
    return rows


def extrapolated(seconds: dict, count: int) -> float:
    """The time of `count` files, on the line through the times of two smaller numbers of files."""
    (few, first), (many, second) = sorted(seconds.items())
    slope = (second - first) / (many - few)
    if slope <= 0:
        raise SystemExit(f"bench/run: {many} files took {second:.2f} s, and {few} took {first:.2f} s: something disturbed it")
    return first + slope * (count - few)


def check_peers(peers: dict, schema: Path, good: Path, bad: Path) -> dict:
    """Only peers that do the same work are compared: they take what is right, and refuse what is wrong."""
    fit = {}
    for name, call in peers.items():
        accepts = run(call(schema, good, manifests(good))).returncode == 0
        refuses = run(call(schema, bad, manifests(bad))).returncode != 0
        if accepts and refuses:
            fit[name] = call
        else:
            say(f"UNFIT: {name} accepts what is right: {accepts}; refuses what is wrong: {refuses}")
    return fit


def inside(seconds: dict, count: int) -> list:
    def against(goal: float, mine: str, theirs: str) -> tuple:
        ratio = seconds[mine] / seconds[theirs]
        return f"≤ {goal:.1f}×", f"{seconds[mine] * per:.1f} µs against {seconds[theirs] * per:.1f} µs: {ratio:.2f}×", ratio <= goal

    per = 1e6 / count
    told = f"reading {seconds['read'] * per:.1f} µs, events {seconds['events'] * per:.1f} µs a manifest"
    return [
        ("one thread: reading, and `granit-parser`'s events alone", "told", told, True),
        ("one thread: spanned tree against `serde_yaml_ng` into `Value`", *against(1.0, "tree", "serde_yaml_ng")),
        ("one thread: the same by `granit-parser`, as for what is not plain", "told", against(1.0, "tree_of_any", "serde_yaml_ng")[1], True),
        ("one thread: all of `validate` against reading and a spanned tree by `granit-parser`", *against(1.5, "validate", "read_and_tree_of_any")),
        ("one thread: all of `validate` against reading and the spanned tree that it takes", "told", against(1.5, "validate", "read_and_tree")[1], True),
    ]


def cached(validate: list, files: list, ajv: float | None) -> list:
    """The rows of a second `dcp validate`: nothing changed, one file changed, one workload renamed."""
    say("timing dcp with its cache …")
    wall(validate)
    same = statistics.median(wall(validate) for _ in range(REPETITIONS))

    def after(old: str, new: str) -> float:
        times = []
        for number in range(REPETITIONS):
            path = files[number * len(files) // REPETITIONS]
            text = path.read_text()
            path.write_text(text.replace(old, new, 1))
            times.append(wall(validate))
            path.write_text(text)
            wall(validate)
        return statistics.median(times)

    one, renamed = after("owner: ", "owner: another-"), after("  name: ", "  name: another-")
    name, version = "ajv-cli", PEERS["ajv-cli"]
    if ajv is None:
        first = (f"`dcp validate` with nothing changed against {name}", "≥ 15×", "not measured: could not be installed", None)
    else:
        value = f"{same:.3f} s against {ajv:.1f} s: {ajv / same:.1f}×"
        first = (f"`dcp validate` with nothing changed since the last one against {name} {version}", "≥ 15×", value, ajv / same >= 15)
    return [
        first,
        (f"`dcp validate` with one changed file of {len(files)}", "≤ 60 ms", f"{one * 1000:.0f} ms", one <= 0.060),
        (f"`dcp validate` with one renamed workload of {len(files)}", "told", f"{renamed * 1000:.0f} ms", True),
    ]


def interleaved(commands: dict, once: list, before) -> dict:
    """Medians, with the commands taking turns so that what disturbs one disturbs all. `before` runs before each."""
    times = {name: [] for name in commands}
    for round_number in range(REPETITIONS + 1):
        for name, command in commands.items():
            if name in once and round_number > 2:
                continue
            seconds = wall(command, before=before)
            if round_number > 0:  # The first round warms up.
                times[name].append(seconds)
    return {name: statistics.median(all_times) for name, all_times in times.items()}
