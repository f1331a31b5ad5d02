"""The live channel: many sockets in one gevent process; one is told, all are told; and webhooks beside them."""

import random
import resource
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from sqlalchemy import text

from benchmarks import load, processes, report, traffic
from benchmarks.browsers import Browsers
from benchmarks.load import Sent
from benchmarks.stage import Stage
from bootstrap.system import FEED_GREW
from core import events
from core.access import Principal
from core.dburl import libpq_url
from core.events import DomainEvent
from core.wake import Bell

ORGANIZATION = "bench"
SPARE = 2_000  # descriptors for everything else
JOIN = b'{"type":"join-organization","data":"bench"}'
WARM = 5
SETTLE_S = 1.0
PAUSE_S = 0.06  # between two single events: a wake-up of its own for each
SENDERS = 50
TURN_S = 0.0001  # who rings is a thread of ours here, and must not wait until the browsers' thread has had enough


@dataclass(frozen=True, kw_only=True)
class Live:
    """`told_ms`: from the commit to the frame, one event to one of all. `all_ms`: to the last of all, one event."""

    sockets: int
    open_s: float
    kb_each: float
    idle_cpu: float
    told_ms: list[float]
    all_ms: list[float]
    all_us_each: list[float]


def measure(stage: Stage, *, sockets: int, told: int, broadcasts: int) -> Live:
    """Raises OSError when a socket is closed or the server falls silent."""
    stage.forget()
    sockets = min(sockets, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - SPARE)
    people = [UUID(sender.user_id) for sender in stage.senders(sockets)]
    tokens = [_token(stage, person) for person in people]
    with stage.web() as web, _bell(stage) as bell, Browsers(stage.port, tokens[:WARM]) as warm:
        warm.open()
        [server] = processes.children(web)
        before = processes.resident_mb(server)
        with Browsers(stage.port, tokens) as browsers:
            open_s = browsers.open()
            time.sleep(SETTLE_S)
            kb_each = (processes.resident_mb(server) - before) * 1024 / sockets
            idle = processes.cpu_seconds([server])
            browsers.rest(5.0)
            idle_cpu = (processes.cpu_seconds([server]) - idle) / 5.0
            told_ms = [_tell_one(stage, bell, browsers, people) for _ in range(told)]
            room = _fill_room(stage, browsers, sockets)
            shouted = [_tell_all(stage, bell, browsers, room, server, sockets) for _ in range(broadcasts)]
    return Live(
        sockets=sockets,
        open_s=open_s,
        kb_each=kb_each,
        idle_cpu=idle_cpu,
        told_ms=sorted(told_ms),
        all_ms=[ms for ms, _ in shouted],
        all_us_each=[us for _, us in shouted],
    )


def measure_beside(stage: Stage, *, sockets: int, rounds: int, seconds: float) -> list[tuple[Sent, Sent]]:
    """Webhooks with idle and slow sockets on the same process, in turn without: pairs of (with, without).

    None of them reads, and half of them are told things all the time; their users are told them without sockets too.
    """
    stage.forget()
    senders = stage.senders(SENDERS, with_keys=True)
    asked = load.requests(traffic.templates(senders, 2000), 7, stored=True)
    people = [UUID(sender.user_id) for sender in stage.senders(sockets)]
    tokens = [_token(stage, person) for person in people]
    pairs = []
    with stage.web(), _bell(stage) as bell, _news(stage, bell, people[: sockets // 2]):
        for _ in range(rounds):
            without = _warm_and_send(stage, asked, seconds)
            with Browsers(stage.port, tokens) as browsers:
                browsers.open()
                pairs.append((_warm_and_send(stage, asked, seconds), without))
    return pairs


def _warm_and_send(stage: Stage, asked: load.Requests, seconds: float) -> Sent:
    """What the gate knows, it knows for 5 s: both sides begin with it."""
    time.sleep(SETTLE_S)
    load.send(stage.port, asked, SETTLE_S)
    return load.send(stage.port, asked, seconds)


def measure_webhook(stage: Stage, *, webhooks: int) -> list[float]:
    """Milliseconds from a webhook's first byte to the browser's frame of it, one at a time, sorted."""
    stage.forget()
    [sender] = stage.senders(1, with_keys=True)
    templates = traffic.templates([sender], 200)
    asked = load.requests(templates, 9, stored=True)
    with (
        stage.web(),
        stage.product_worker(),
        Browsers(stage.port, [_token(stage, UUID(sender.user_id))]) as browsers,
    ):
        browsers.open()
        return sorted(_post_one(stage, browsers, next(asked)) for _ in range(WARM + webhooks))[:webhooks]


def tell(found: Live) -> list[str]:
    late = found.told_ms[int(len(found.told_ms) * 0.99)]
    return [
        "",
        f"Live channel: {found.sockets:,} sockets of as many users in one gevent process",
        f"opened in {found.open_s:.0f} s, {found.kb_each:.0f} KB each, {found.idle_cpu:.1%} of a CPU while idle",
        f"one user told, commit to frame: p50 {found.told_ms[len(found.told_ms) // 2]:.1f} ms, p99 {late:.1f} ms"
        f" ({len(found.told_ms)} events)",
        f"all told, commit to the last frame: {report.spread(found.all_ms, '.0f')} ms,"
        f" CPU {report.spread(found.all_us_each, '.0f')} µs a socket",
    ]


def tell_beside(sockets: int, pairs: list[tuple[Sent, Sent]]) -> list[str]:
    return [
        "",
        f"Acknowledgement beside {sockets:,} sockets: {len(pairs)} rounds in turn; median (min–max)",
        *report.table(
            ("with sockets", "without"),
            pairs,
            (
                ("requests/s", lambda side: side.per_second, ",.0f"),
                ("p50 ms", lambda side: side.percentile(0.5), ".1f"),
                ("p99 ms", lambda side: side.percentile(0.99), ".1f"),
            ),
        ),
        f"ratio of p99: {report.ratio(pairs, lambda side: side.percentile(0.99))}",
    ]


def tell_webhook(found: list[float]) -> list[str]:
    p50, p95 = found[len(found) // 2], found[int(len(found) * 0.95)]
    return ["", f"Webhook to the browser's frame, idle: p50 {p50:.0f} ms, p95 {p95:.0f} ms ({len(found)} webhooks)"]


@contextmanager
def _bell(stage: Stage) -> Iterator[Bell]:
    sys.setswitchinterval(TURN_S)
    bell = Bell(libpq_url(stage.url))
    bell.start()
    try:
        yield bell
    finally:
        bell.stop()


@contextmanager
def _news(stage: Stage, bell: Bell, people: Sequence[UUID]) -> Iterator[None]:
    """Ten times a second, fifty of them are told something."""
    over = threading.Event()

    def write() -> None:
        while not over.wait(0.1):
            told = random.sample(people, min(50, len(people)))
            with stage.system.transaction() as connection:
                events.record(
                    connection, [DomainEvent(user_id=one, type="notice", data={"text": "x" * 200}) for one in told]
                )
            bell.ring(FEED_GREW, [str(one) for one in told])

    writer = threading.Thread(target=write)
    writer.start()
    try:
        yield
    finally:
        over.set()
        writer.join()


def _token(stage: Stage, person: UUID) -> str:
    return stage.system.access.tokens.issue(Principal(user_id=person, role="admin"), valid_for=timedelta(hours=1))


def _record(stage: Stage, bell: Bell, person: UUID) -> float:
    """An event of theirs, committed and rung for; when that was."""
    with stage.system.transaction() as connection:
        events.record(connection, [DomainEvent(user_id=person, type="notice", data={"text": "x" * 200})])
    at = time.perf_counter()
    bell.ring(FEED_GREW, [str(person)])
    return at


def _tell_one(stage: Stage, bell: Bell, browsers: Browsers, people: list[UUID]) -> float:
    browsers.rest(PAUSE_S)
    number = random.randrange(len(people))
    came: list[float] = []

    def heard(who: int, _: bytes, at: float) -> None:
        if who == number:
            came.append(at)

    began = _record(stage, bell, people[number])
    browsers.listen(heard, until=lambda: bool(came))
    return (came[0] - began) * 1000


def _fill_room(stage: Stage, browsers: Browsers, sockets: int) -> UUID:
    """Everybody joins the organization of one more instance, whose user is returned."""
    [sender] = stage.senders(1)
    with stage.system.transaction() as connection:
        enlist = text("UPDATE whatsapp_instances SET organization_id = :org WHERE user_id = :user")
        connection.execute(enlist, {"org": ORGANIZATION, "user": sender.user_id})
    joined = 0

    def heard(_: int, payload: bytes, __: float) -> None:
        nonlocal joined
        joined += b'"joined"' in payload

    for number in range(sockets):
        browsers.say(number, JOIN)
        if number % 100 == 99:
            browsers.listen(heard, until=lambda asked=number + 1: joined >= asked)  # type: ignore[misc]
    browsers.listen(heard, until=lambda: joined >= sockets)
    return UUID(sender.user_id)


def _tell_all(
    stage: Stage, bell: Bell, browsers: Browsers, person: UUID, server: int, sockets: int
) -> tuple[float, float]:
    """Milliseconds until the last has it, and CPU of the server in µs a socket."""
    browsers.rest(SETTLE_S)
    count, last = 0, 0.0

    def heard(_: int, __: bytes, at: float) -> None:
        nonlocal count, last
        count, last = count + 1, at

    used = processes.cpu_seconds([server])
    began = _record(stage, bell, person)
    browsers.listen(heard, until=lambda: count >= sockets)
    return (last - began) * 1000, (processes.cpu_seconds([server]) - used) * 1e6 / sockets


def _post_one(stage: Stage, browsers: Browsers, request: bytes) -> float:
    browsers.rest(PAUSE_S)
    came: list[float] = []
    with socket.create_connection(("127.0.0.1", stage.port)) as connection:
        began = time.perf_counter()
        connection.sendall(request)
        browsers.listen(lambda _, __, at: came.append(at), until=lambda: bool(came))
        connection.recv(4096)
    return (came[0] - began) * 1000
