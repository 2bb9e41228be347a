"""Measures the compile time of `make demo`, and the share of each large dependency."""

import json
import re
import shutil
import tempfile
from pathlib import Path

from .common import NO_GOAL, ROOT, check_output, log, wall_time

LARGE = 0.02
"""Minimum share of the time for a dependency to get a row."""


def measure(dcp: Path, bench: Path, count: int) -> list:
    """Measures this part, and returns the rows of its table."""
    check_output(["cargo", "fetch", "--locked"], cwd=ROOT)
    folder = Path(tempfile.mkdtemp(prefix="dcp-build-"))
    try:
        log("compiling dcp without cached crates …")
        command = ["cargo", "build", "--profile", "demo", "--locked", "--package", "dcp-cli", "--timings", "--target-dir", folder]
        seconds = wall_time(command, cwd=ROOT)
        units = timings(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    packages, edges, roots = graph()
    cost = dict.fromkeys(packages, 0.0)
    for unit in units:
        key = unit["name"], unit["version"]
        cost[key] = cost.get(key, 0.0) + unit["duration"]
    total = sum(cost.values())
    rows = [("`make demo`: compile time of dcp and all dependencies, without downloads", "≤ 300 s", f"{seconds:.0f} s in one run, {len(units)} units", seconds <= 300)]
    exclusive_packages = {direct: exclusive(direct, edges, roots) for root in roots for direct in edges[root] if direct not in roots}
    priced = sorted(((sum(cost[it] for it in only), direct, only) for direct, only in exclusive_packages.items()), key=lambda it: -it[0])
    for price, (name, version), only in priced:
        if price >= LARGE * total:
            crates = "1 crate" if len(only) == 1 else f"{len(only)} crates"
            measured = f"{price:.1f} s of {total:.0f}: {price / total:.1%}, {crates}"
            rows.append((f"`{name}` {version}, with the crates that only it needs", NO_GOAL, measured, True))
    return rows


def timings(folder: Path) -> list:
    page = (folder / "cargo-timings" / "cargo-timing.html").read_text()
    return json.loads(re.search(r"const UNIT_DATA = (\[.*?\]);\n", page, re.DOTALL)[1])


def graph() -> tuple:
    """Returns the packages of dcp-cli, their dependencies except those for tests, and the workspace's own packages."""
    host = re.search(r"host: (.+)", check_output(["rustc", "-vV"]))[1]
    command = ["cargo", "metadata", "--format-version", "1", "--locked", "--filter-platform", host]
    metadata = json.loads(check_output(command, cwd=ROOT))
    key = {package["id"]: (package["name"], package["version"]) for package in metadata["packages"]}
    all_edges = {}
    for node in metadata["resolve"]["nodes"]:
        used = [it["pkg"] for it in node["deps"] if any(kind["kind"] != "dev" for kind in it["dep_kinds"])]
        all_edges[key[node["id"]]] = {key[it] for it in used}
    cli = next(it for it in all_edges if it[0] == "dcp-cli")
    packages = reachable([cli], all_edges, None)
    own = {key[it] for it in metadata["workspace_members"]} & packages
    return packages, {it: all_edges[it] for it in packages}, own


def reachable(begin, edges: dict, without) -> set:
    found, pending = set(), [it for it in begin if it != without]
    while pending:
        package = pending.pop()
        if package not in found:
            found.add(package)
            pending.extend(it for it in edges[package] if it != without)
    return found


def exclusive(direct, edges: dict, roots: set) -> set:
    """Returns the packages that only this direct dependency needs."""
    return set(edges) - reachable(roots, edges, direct)
