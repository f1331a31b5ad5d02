"""What the gateway shows during one run: listed once, live states on demand, left alone after its first silence."""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from core.errors import NotOffered, ProviderError, RateLimited, TimedOut, Unavailable
from manager.adoption.plan import Seen
from manager.providers.port import Found, HookSeen, Provider, State

AT_ONCE = 8
T = TypeVar("T")


class Silent(Exception):
    """The gateway does not answer any more: what needs it is left for another run."""


class Gateway:
    """`is_stand_in`: the sandbox, which need not run; a gateway that was named and is silent is another matter."""

    def __init__(self, provider: Provider | None, *, is_stand_in: bool) -> None:
        self._provider, self._is_stand_in = provider, is_stand_in
        self._live: dict[str, State] = {}
        self._all: Mapping[str, State] | None = None
        self.found: dict[str, Found] = {}
        self.reached = self.lost = False
        self.trouble = "" if provider else "none is configured"

    @property
    def word(self) -> str:
        """reached, away (it does not answer) or none."""
        if self.reached:
            return "reached"
        return "away" if self._is_silent else "none"

    @property
    def _is_silent(self) -> bool:
        return self._provider is not None and not self.reached and (self.lost or not self._is_stand_in)

    def list(self) -> None:
        """Ask once for all that it has. Raises nothing: `trouble` says what was wrong."""
        if self._provider is None:
            return
        try:
            self.found = {found.name: found for found in self._provider.instances()}
            self._all = self._states()
            self.reached = True
        except ProviderError as error:
            self.trouble = error.message

    def seen(self, names: Iterable[str] = ()) -> Seen:
        """With the live state of these. Raises Silent."""
        connected = {name for name in names if name in self.found and self._state(name) is State.CONNECTED}
        return Seen(reached=self.reached, silent=self._is_silent, names=self.found.keys(), connected=connected)

    def hooks(self, names: Iterable[str], each: Callable[[], None]) -> dict[str, HookSeen | ProviderError | None]:
        """Where the events of these go now. `each` is called after each, and may raise to break it off."""
        wanted = sorted(names)
        seen: dict[str, HookSeen | ProviderError | None] = {}
        with ThreadPoolExecutor(AT_ONCE) as pool:
            try:
                for name, hook in zip(wanted, pool.map(self._hook, wanted), strict=True):
                    seen[name] = hook
                    each()
            finally:
                pool.shutdown(cancel_futures=True)
        return seen

    def ask(self, question: Callable[[], T]) -> T:
        """Raises Silent where the server is in trouble, other ProviderErrors as they are."""
        try:
            return question()
        except (Unavailable, TimedOut, RateLimited) as error:
            self.trouble, self.reached, self.lost = error.message, False, True
            raise Silent from error

    def _states(self) -> Mapping[str, State] | None:
        """All at once where it can; else they are asked for one by one."""
        try:
            return self._provider.states() if self._provider else None
        except NotOffered:
            return None

    def _state(self, name: str) -> State:
        if self._all is not None and name in self._all:
            return self._all[name]
        if name not in self._live:
            self._live[name] = self._looked(name)
        return self._live[name]

    def _looked(self, name: str) -> State:
        provider = self._provider
        if provider is None:
            return State.UNKNOWN
        try:
            return self.ask(lambda: provider.state(name)).state
        except ProviderError:
            return State.UNKNOWN

    def _hook(self, name: str) -> HookSeen | ProviderError | None:
        try:
            return self._provider.hook(name) if self._provider else None
        except ProviderError as error:
            return error
