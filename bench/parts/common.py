"""Helpers that all parts of the benchmark share."""

import os
import platform
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
CACHE = Path(os.environ.get("DCP_CACHE", Path.home() / ".cache" / "dcp")) / "bench"
REPETITIONS = 5
NO_GOAL = "—"
"""Goal of a row that only reports a figure."""


def log(*words: object) -> None:
    print(*words, file=sys.stderr, flush=True)


def run(command: list, **options) -> subprocess.CompletedProcess:
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)


def check_output(command: list, **options) -> str:
    done = run(command, **options)
    if done.returncode != 0:
        raise SystemExit(f"bench/run: `{' '.join(map(str, command))}` failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def build() -> Path:
    log("building dcp in release …")
    check_output(["cargo", "build", "--release", "--locked", "-q", "-p", "dcp-cli", "-p", "dcp-bench"], cwd=ROOT)
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"


def corpus(bench: Path, count: int) -> Path:
    """Generates a corpus, or returns the cached one of the same generator: the manifests are the same on each machine."""
    version = check_output(["git", "rev-parse", "HEAD:bench/src/corpus"], cwd=ROOT).strip()[:12]
    folder = CACHE / f"corpus-{version}-{count}"
    if not folder.exists():
        log(f"generating {count} manifests …")
        part = folder.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        check_output([bench, "corpus", "--out", part, "--count", count])
        part.rename(folder)
    return folder


def wall_time(command: list, exit_code: int = 0, before=lambda: None, **options) -> float:
    words = [str(word) for word in command]
    before()
    start = time.perf_counter()
    done = subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)
    seconds = time.perf_counter() - start
    if done.returncode != exit_code:
        raise SystemExit(f"bench/run: `{' '.join(words[:6])} …` exited with {done.returncode}, not {exit_code}")
    return seconds


def peak_memory(command: list, **options) -> float:
    """Returns the peak memory of a command in MiB.

    The system reports the largest of all children of a process, so each command gets its own parent.
    """
    code = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    return int(check_output([sys.executable, "-c", code, *command], **options)) / 1024


def markdown_table(rows: list, repetitions: int = REPETITIONS) -> str:
    words = {True: "met", False: "**missed**", None: "**not measured**"}
    lines = ["| what | goal | measured | |", "| --- | --- | --- | --- |"]
    for what, goal, measured, met in rows:
        lines.append(f"| {what} | {goal} | {measured} | {'' if goal == NO_GOAL else words[met]} |")
    rust = check_output(["rustc", "--version"]).split()[1]
    machine = f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}"
    return "\n".join([*lines, "", f"Medians of {repetitions} runs. {machine}, Rust {rust}, Python {platform.python_version()}."])
