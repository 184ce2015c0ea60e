"""What Redis itself can do, by its own `redis-benchmark`."""

from __future__ import annotations

import csv
import io
import shutil
import subprocess
from statistics import median

from benchmarks.conditions import BenchmarkError
from benchmarks.servers import Server

CALLS, ROUNDS, SECONDS = 100_000, 3, 60
PIPELINES = {"LPUSH, one client": 1, "LPUSH, one client, pipelines of 50": 50}


def measure(server: Server, calls: int = CALLS) -> dict[str, float]:
    """Calls a second of each way, medians."""
    program = shutil.which("redis-benchmark") or shutil.which("valkey-benchmark")
    if program is None:
        raise BenchmarkError("there is no redis-benchmark on the PATH; it comes with Redis' tools")
    found = {}
    for name, pipeline in PIPELINES.items():
        runs = []
        for _ in range(ROUNDS):
            server.client.flushall()
            runs.append(_rate(program, server.port, calls, pipeline))
        found[name] = median(runs)
    server.client.flushall()
    return found


def _rate(program: str, port: int, calls: int, pipeline: int) -> float:
    options = {"-h": "127.0.0.1", "-p": port, "-t": "lpush", "-c": 1, "-n": calls, "-P": pipeline, "-d": 500}
    command = [program, *(str(word) for pair in options.items() for word in pair), "--csv"]
    said = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=True).stdout
    return float(next(csv.DictReader(io.StringIO(said)))["rps"])
