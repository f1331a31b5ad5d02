"""CPU time and memory of processes, from Linux's /proc. CPU counts children that have ended and were waited for."""

import os
from collections.abc import Iterable
from pathlib import Path

TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def cpu_seconds(pids: Iterable[int]) -> float:
    """What these processes and all below them have used so far, user and system."""
    tree = _children()
    return sum(_used(pid) for top in pids for pid in _family(top, tree)) * TICK_S


def children(pid: int) -> list[int]:
    return _children().get(pid, [])


def resident_mb(pid: int) -> float:
    """Of one process, what is in memory now."""
    lines = (line.partition(":") for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return next(int(value.split()[0]) for key, _, value in lines if key == "VmRSS") / 1024


def postmaster(data_dir: Path) -> int:
    """The first process of the embedded server in this data folder."""
    return int((data_dir / "postgres" / "postmaster.pid").read_text().split()[0])


def _children() -> dict[int, list[int]]:
    tree: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _fields(int(entry.name))):
            tree.setdefault(int(fields[1]), []).append(int(entry.name))
    return tree


def _family(top: int, tree: dict[int, list[int]]) -> list[int]:
    return [top, *(pid for child in tree.get(top, ()) for pid in _family(child, tree))]


def _used(pid: int) -> int:
    """utime, stime, cutime, cstime, in ticks."""
    return sum(int(field) for field in _fields(pid)[11:15])


def _fields(pid: int) -> list[str]:
    """/proc/PID/stat from the state on; the name before it may hold spaces. [] for a process that has gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
