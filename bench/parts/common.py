"""What all parts of the benchmark do alike."""

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


def say(*words: object) -> None:
    print(*words, file=sys.stderr, flush=True)


def run(command: list, **options) -> subprocess.CompletedProcess:
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, **options)


def must(command: list, **options) -> str:
    done = run(command, **options)
    if done.returncode != 0:
        raise SystemExit(f"bench/run: `{' '.join(map(str, command))}` failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def build() -> Path:
    say("building dcp in release …")
    must(["cargo", "build", "--release", "--locked", "-q", "-p", "dcp-cli", "-p", "dcp-bench"], cwd=ROOT)
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"


def corpus(bench: Path, count: int) -> Path:
    """The manifests are the same wherever they are made, so that a corpus is made once for each state of its maker."""
    stamp = must(["git", "rev-parse", "HEAD:bench/src/corpus"], cwd=ROOT).strip()[:12]
    folder = CACHE / f"corpus-{stamp}-{count}"
    if not folder.exists():
        say(f"making {count} manifests …")
        part = folder.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        must([bench, "corpus", "--out", part, "--count", count])
        part.rename(folder)
    return folder


def wall(command: list, ends_with: int = 0, before=lambda: None, **options) -> float:
    words = [str(word) for word in command]
    before()
    start = time.perf_counter()
    done = subprocess.run(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)
    seconds = time.perf_counter() - start
    if done.returncode != ends_with:
        raise SystemExit(f"bench/run: `{' '.join(words[:6])} …` ended with {done.returncode}, not {ends_with}")
    return seconds


def peak(command: list, **options) -> float:
    """The most memory that a command held, in MiB. Of all children the largest counts, so each gets a process."""
    code = (
        "import resource, subprocess, sys; subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    return int(must([sys.executable, "-c", code, *command], **options)) / 1024


def table(rows: list) -> str:
    words = {True: "met", False: "**missed**", None: "**not measured**"}
    lines = ["| what | goal | measured | |", "| --- | --- | --- | --- |"]
    for what, goal, measured, met in rows:
        lines.append(f"| {what} | {goal} | {measured} | {'' if goal == 'told' else words[met]} |")
    rust = must(["rustc", "--version"]).split()[1]
    machine = f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}"
    return "\n".join([*lines, "", f"Medians of {REPETITIONS} runs. {machine}, Rust {rust}, Python {platform.python_version()}."])
