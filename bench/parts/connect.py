"""Measures proxies for Spark Connect in front of one real server: HAProxy, nginx and dcp, against no proxy. Also measures the
start of a session and of a sandbox of a warm and of a cold pool of dcp.
"""

import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from string import Template

from .common import NO_GOAL, ROOT, check_output, log

sys.path.insert(0, str(ROOT / "connect" / "tests" / "python"))

from proxy import Site, Up, driver  # noqa: E402
from server import Server, client, free_port  # noqa: E402

SERVER, CLIENT = "4.1.1", "4.1.3"
SETTINGS = ["--conf", "spark.connect.execute.reattachable.senderMaxStreamDuration=2m"]
SECONDS = 480
MIB = 400
SESSIONS = 1000
STARTS = 3
"""Repetitions of the start of `dcp up`, each of which has one start of a cold pool's driver."""
WARM_SESSIONS = 10
DIRECT, DCP = "direct", "dcp"
MAX_LATENCY, MIN_RATE = 1.1, 0.9
KINDS = {"select": "`SELECT 1`, encoded before", "config": "`Config`, encoded before", "pyspark": "`SELECT 1` by PySpark"}
PROXIES = {
    "haproxy-tcp.cfg": "HAProxy, TCP",
    "haproxy-http2.cfg": "HAProxy, HTTP/2",
    "nginx-tcp.conf": "nginx, TCP",
    "nginx-grpc.conf": "nginx, gRPC",
}


def measure(dcp: Path, bench: Path, count: int) -> list:
    """Measures this part, and returns the rows of its table."""
    log("measuring proxies for Spark Connect (some minutes) …")
    quick = count < 10_000
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(Server(SERVER, *SETTINGS))
        targets, processes = {DIRECT: server.url}, {}
        for template, title in PROXIES.items():
            targets[title], processes[title] = stack.enter_context(proxy(template, server.url))
        site = stack.enter_context(Site({"main": driver(server.port)}, program=dcp.resolve()))
        own = site.proxy()
        targets[DCP], processes[DCP] = own.url(token := site.token("ada")), own.pid
        # The client's own work for a token takes it longer than a proxy's, so that all addresses get one.
        targets |= {name: with_token(url, token) for name, url in targets.items() if name != DCP}
        times = load("latency", SECONDS // 10 if quick else SECONDS, targets)
        results = load("throughput", MIB // 10 if quick else MIB, targets)
        memory = {name: memory_of_sessions(targets[name], process) for name, process in processes.items()}
    rounds = [starts(dcp.resolve()) for _ in range(1 if quick else STARTS)]
    return rows(times, results, memory) + rows_of_starts(rounds)


@contextlib.contextmanager
def proxy(template: str, direct: str):
    """Runs HAProxy or nginx in front of a server, and yields its address and process id."""
    root = Path(check_output([ROOT / "scripts" / "connect-proxies"]).strip())
    address, _, parameters = direct.removeprefix("sc://").partition("/")
    port = free_port()
    values = {"PORT": port, "SERVER_PORT": address.rpartition(":")[2], "ROOT": root}
    program = template.partition("-")[0]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / template
        path.write_text(Template((ROOT / "bench" / "connect" / template).read_text()).substitute(values))
        arguments = {"haproxy": ["-f", path], "nginx": ["-p", folder, "-c", path, "-e", "stderr"]}[program]
        libraries = f"{root}/usr/lib/x86_64-linux-gnu:{root}/usr/lib/aarch64-linux-gnu"
        process = subprocess.Popen(
            [root / "usr" / "sbin" / program, *arguments],
            env={**os.environ, "LD_LIBRARY_PATH": libraries}, stdout=sys.stderr, stderr=sys.stderr,
        )
        try:
            wait_for_port(process, port)
            yield f"sc://127.0.0.1:{port}/{parameters}", process.pid
        finally:
            process.terminate()
            process.wait(20)


def wait_for_port(process: subprocess.Popen, port: int) -> None:
    deadline = time.monotonic() + 20
    while True:
        with socket.socket() as it:
            if it.connect_ex(("127.0.0.1", port)) == 0:
                return
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"bench/run: `{process.args[0]}` does not listen on port {port}; see the error above")
        time.sleep(0.05)


def with_token(url: str, token: str) -> str:
    # Clients send a token without TLS to a server of this name only.
    return f"{url.replace('127.0.0.1', 'localhost').rstrip('/')}/;token={token}"


def load(kind: str, size: int, targets: dict) -> dict:
    return measured(kind, size, *(f"{name}={url}" for name, url in targets.items()))


def measured(kind: str, size: int, *arguments: str) -> dict | list:
    return json.loads(check_output([*load_command(kind, size), *arguments]))


def load_command(kind: str, size: int) -> list:
    script = Path(__file__).with_name("connect_load.py")
    return [client(CLIENT), "-B", "-W", "ignore", str(script), kind, str(size)]


def memory_of_sessions(url: str, process: int) -> tuple[float, float]:
    """Returns the MiB of a proxy before and with many idle sessions, each with a connection of its own."""
    before = resident(process)
    command = [*load_command("sessions", SESSIONS), url]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as sessions:
        if not sessions.stdout.readline():
            raise SystemExit(f"bench/run: the sessions at {url} could not be opened; see the error above")
        after = resident(process)
        sessions.stdin.close()
    return before, after


def resident(process: int) -> float:
    """Returns the resident memory of a process and its children in MiB."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    lines = [line for pid in [process, *children] for line in Path(f"/proc/{pid}/status").read_text().splitlines()]
    return sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024


def starts(dcp: Path) -> dict:
    """Returns the times of the starts of sessions and sandboxes of a pool with a driver that is ready, and of pools without one."""
    driver = {"resources": {"driver": {"cores": 1, "memory": "1g"}}}
    pools = {
        name: {**driver, "drivers": {"minIdle": idle, "maxIdle": idle, "max": 1}}
        for name, idle in (("warm", 1), ("cold", 0), ("cold-sandbox", 0))
    }
    with Up(pools, program=dcp) as up:
        deadline = time.monotonic() + 120
        while not up.ready("warm"):
            if time.monotonic() > deadline:
                raise SystemExit(f"bench/run: the pool has no driver:\n{up.log_text()}")
            time.sleep(0.2)
        url = up.url("ada")
        times = {name: measured("start", count, f"{url};dcp-pool={name}") for name, count in (("warm", WARM_SESSIONS), ("cold", 1))}
        for pool in ("warm", "cold-sandbox"):
            begun = time.perf_counter()
            up.run("sandbox", "create", pool, "--pool", pool)
            times[f"sandbox, {pool}"] = [time.perf_counter() - begun]
        return times


def rows(times: dict, results: dict, memory: dict) -> list:
    """Returns the rows that compare each proxy with the direct way, and dcp with the best of all."""
    table = []
    for kind, title in KINDS.items():
        for name, values in times.get(kind, {}).items():
            what = f"{title}, {len(values)} times: {name}"
            goal, met = NO_GOAL, True
            if name == DCP and kind != "config":
                goal, met = f"both ≤ {MAX_LATENCY}× the best", is_quick(times[kind])
            table.append((what, goal, latency(values, times[kind][DIRECT], name == DIRECT), met))
    rates = {name: statistics.median(values) for name, values in results["rates"].items()}
    for name, rate in rates.items():
        ratio = "" if name == DIRECT else f": {rate / rates[DIRECT]:.2f}×"
        what = f"a result of {results['size'] / 1e6:.0f} MB: {name}"
        goal, met = NO_GOAL, True
        if name == DCP:
            best = max(rates[title] for template, title in PROXIES.items() if template.startswith("haproxy"))
            goal, met = f"≥ {MIN_RATE}× HAProxy's best", rate >= MIN_RATE * best
        table.append((what, goal, f"{rate / 1e6:.0f} MB/s{ratio}", met))
    for name, (before, after) in memory.items():
        what = f"memory of {SESSIONS} idle sessions: {name}"
        value = f"{after - before:.1f} MiB, {(after - before) * 1024 / SESSIONS:.1f} KiB each; {after:.1f} MiB in all"
        table.append((what, NO_GOAL, value, True))
    return table


def is_quick(times: dict) -> bool:
    """Returns whether dcp's median and p99 are near the best of all other ways."""
    others = [values for name, values in times.items() if name != DCP]
    return all(
        of(times[DCP]) <= MAX_LATENCY * min(of(values) for values in others)
        for of in (statistics.median, lambda values: percentile(values, 99))
    )


def rows_of_starts(rounds: list) -> list:
    """Returns the rows of the starts of sessions and of sandboxes."""
    table = []
    for what, warm_name, cold_name in (
        ("a session and its first query", "warm", "cold"), ("`dcp sandbox create`", "sandbox, warm", "sandbox, cold-sandbox"),
    ):
        warm, cold = ([seconds for each in rounds for seconds in each[name]] for name in (warm_name, cold_name))
        warm_text = f"median {statistics.median(warm):.2f} s, longest {max(warm):.2f} s"
        cold_text = f"median {statistics.median(cold):.1f} s, longest {max(cold):.1f} s"
        ratio = f": {statistics.median(cold) / statistics.median(warm):.0f}×"
        table += [
            (f"{what}, from a warm pool, {len(warm)} times", "longest < 10 s", warm_text, max(warm) < 10),
            (f"the same, with the start of a driver, {len(cold)} times", "longest < 60 s", cold_text + ratio, max(cold) < 60),
        ]
    return table


def latency(values: list, direct: list, is_direct: bool) -> str:
    median, p99 = statistics.median(values), percentile(values, 99)
    text = f"median {millis(median)}, p99 {millis(p99)}"
    if is_direct:
        return text
    # The two calls of a round follow each other, so that the speed of the machine is the same for both.
    added = statistics.median(value - other for value, other in zip(values, direct))
    return (
        f"{text}: {median / statistics.median(direct):.2f}× and {p99 / percentile(direct, 99):.2f}×, "
        f"{added * 1e6:.0f} µs more within a round"
    )


def percentile(values: list, percent: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def millis(seconds: float) -> str:
    return f"{seconds * 1e3:.2f} ms"
