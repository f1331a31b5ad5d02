"""Where and with what the numbers were taken: without this they mean nothing."""

import os
import platform
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from sqlalchemy import Engine, text

ROOT = Path(__file__).resolve().parent.parent
SYNCS = 100


def describe(engine: Engine, place: Path) -> list[str]:
    """The machine, the versions and the commit, a line each."""
    with engine.connect() as connection:
        postgres = connection.execute(text("SHOW server_version")).scalar()
        fsync = connection.execute(text("SHOW fsync")).scalar()
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    return [
        f"machine   {os.cpu_count()} cores, {_first('/proc/cpuinfo', 'model name')}, {_memory_gb():.0f} GB memory",
        f"disk      {_filesystem(place)}, one sync of 8 KB takes {_sync_us(place):.0f} µs, fsync={fsync}",
        f"versions  Linux {platform.release()}, Python {platform.python_version()}, PostgreSQL {postgres}",
        f"commit    {_commit()}",
        f"load      {load} before the start",
    ]


def _first(file: str, name: str) -> str:
    lines = (line.partition(":") for line in Path(file).read_text().splitlines())
    return next((value.strip() for key, _, value in lines if key.strip() == name), platform.machine())


def _memory_gb() -> float:
    return int(_first("/proc/meminfo", "MemTotal").split()[0]) / 2**20


def _filesystem(place: Path) -> str:
    """The type of the file system that the place is on: a sync in memory (tmpfs) costs nothing."""
    mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    above = [(where, kind) for where, kind in mounts if place.is_relative_to(where)]
    return max(above, key=lambda mount: len(mount[0]), default=("", "unknown"))[1]


def _sync_us(place: Path) -> float:
    took = []
    with tempfile.TemporaryFile(dir=place) as file:
        for number in range(SYNCS):
            os.pwrite(file.fileno(), bytes(8192), number * 8192)
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            took.append(time.perf_counter() - began)
    return statistics.median(took) * 1e6


def _commit() -> str:
    def git(*arguments: str) -> str:
        done = subprocess.run(("git", "-C", ROOT, *arguments), capture_output=True, text=True, check=False)
        return done.stdout.strip()

    try:
        changed = git("status", "--short", "--", ".", ":!benchmarks", ":!docs")
        return (git("rev-parse", "--short=12", "HEAD") or "unknown") + (", with changes" if changed else "")
    except OSError:
        return "unknown"
