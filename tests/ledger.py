"""Many browsers at once, each keeping a ledger of the ids it was given; they come back by themselves."""

import asyncio
import json
import random
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus


@dataclass
class Browser:
    """`ids`: of all events, in the order of arrival. `codes`: what its sockets were closed with, None: without a
    word."""

    headers: Mapping[str, str]
    ids: list[int] = field(default_factory=list)
    codes: list[int | None] = field(default_factory=list)
    resets: int = 0
    live: bool = False

    @property
    def last(self) -> int:
        return self.ids[-1] if self.ids else 0

    async def stay(self, bases: Sequence[str], turn: int) -> None:
        """Listen for ever; after each close at the next server."""
        while True:
            wait = random.uniform(0.05, 0.3)
            try:
                await self._listen(bases[turn % len(bases)])
            except ConnectionClosed as closed:
                self.codes.append(closed.rcvd.code if closed.rcvd else None)
                told = re.search(r"retry_after_ms=(\d+)", closed.rcvd.reason if closed.rcvd else "")
                wait += int(told[1]) / 1000 if told else 0
            except (OSError, InvalidStatus, InvalidMessage, TimeoutError, EOFError):
                pass  # it is not there at the moment
            self.live = False
            turn += 1
            await asyncio.sleep(wait)

    async def _listen(self, base: str) -> None:
        url = base.replace("http", "ws", 1) + "/ws"
        async with connect(
            url, additional_headers=self.headers, compression=None, proxy=None, open_timeout=10, close_timeout=2
        ) as client:
            await client.send(json.dumps({"type": "subscribe", "since": self.last}))
            async for text in client:
                self._note(json.loads(text))

    def _note(self, frame: Mapping[str, object]) -> None:
        self.live = True
        if frame["type"] == "reset":
            self.resets += 1
        elif isinstance(number := frame.get("id"), int):
            self.ids.append(number)


class Crowd:
    """All browsers in one thread; a context."""

    def __init__(self, bases: Sequence[str], headers: Sequence[Mapping[str, str]]) -> None:
        self.browsers = [Browser(one) for one in headers]
        self._bases = bases
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="crowd")
        self._over: Callable[[], object] = lambda: None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._over)
        self._thread.join(30)
        self._loop.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._live())

    async def _live(self) -> None:
        over = asyncio.Event()
        self._over = over.set
        staying = [asyncio.create_task(one.stay(self._bases, turn)) for turn, one in enumerate(self.browsers)]
        await over.wait()
        for task in staying:
            task.cancel()
        await asyncio.gather(*staying, return_exceptions=True)
