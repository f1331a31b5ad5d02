"""The monitor over many instances: all in one answer of the gateway, in turn with one question an instance; and whether
its memory stays what it was."""

import json
import statistics
import subprocess
from dataclasses import dataclass
from typing import Any

from benchmarks import processes, watcher
from benchmarks.stage import Stage

IN_TURN = 8  # steps a side and round with one answer for all, so that each is judged in full once; one of the other


@dataclass(frozen=True, kw_only=True)
class Step:
    """One side of one round. CPU in µs an instance: the monitor's process, its look alone, and PostgreSQL's."""

    seconds: float
    calls: float
    monitor_us: float
    look_us: float
    postgres_us: float

    @property
    def cpu_us(self) -> float:
        return self.monitor_us + self.postgres_us


Steps = list[tuple[Step, Step]]
Memory = list[tuple[int, float]]


class Side:
    """A gateway and the monitor that watches it, each in a process of its own."""

    def __init__(self, stage: Stage, gateway: "subprocess.Popen[str]", monitor: "subprocess.Popen[str]") -> None:
        self._stage, self._gateway, self._monitor = stage, gateway, monitor

    def step(self, times: int, instances: int) -> Step:
        told(self._gateway)
        monitor_before = processes.cpu_seconds([self._monitor.pid])
        postgres_before = processes.cpu_seconds([self._stage.postgres])
        done = self.run(times)
        each = 1e6 / times / instances
        return Step(
            seconds=statistics.median(done["seconds"]),
            calls=sum(map(int, told(self._gateway).split())) / times,
            monitor_us=(processes.cpu_seconds([self._monitor.pid]) - monitor_before) * each,
            look_us=done["look_cpu_s"] * each,
            postgres_us=(processes.cpu_seconds([self._stage.postgres]) - postgres_before) * each,
        )

    def run(self, times: int) -> Any:
        """What the watcher says of so many steps."""
        begin = self._stage.later(times * watcher.APART)
        return json.loads(told(self._monitor, f"{begin.timestamp()} {times}"))

    @property
    def resident_mb(self) -> float:
        return processes.resident_mb(self._monitor.pid)


def measure(stage: Stage, *, instances: int, rounds: int) -> Steps:
    """Pairs of (one answer for all, one question an instance)."""
    stage.connected(instances)
    with stage.watched(instances) as bulk, stage.watched(instances, one_by_one=True) as single:
        sides = Side(stage, *bulk), Side(stage, *single)
        for side in sides:
            side.run(1)  # warm, and all of them put under watch
        return [(sides[0].step(IN_TURN, instances), sides[1].step(1, instances)) for _ in range(rounds)]


def measure_memory(stage: Stage, *, instances: int, steps: tuple[int, int]) -> Memory:
    """Megabytes of the monitor's process after so many steps, and after so many."""
    stage.connected(instances)
    few, many = steps
    with stage.watched(instances) as parts:
        side = Side(stage, *parts)
        side.run(few)
        first = side.resident_mb
        side.run(many - few)
        return [(few, first), (many, side.resident_mb)]


def told(process: "subprocess.Popen[str]", line: str = "") -> str:
    """What a child answers. Raises RuntimeError where it has ended."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{line}\n")
    process.stdin.flush()
    if not (answer := process.stdout.readline()):
        raise RuntimeError("a process of the benchmark has ended")
    return answer
