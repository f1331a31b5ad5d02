"""What the gateways say of instances while somebody waits: all of them at once, for 3 s, and never twice.

Called by manager.listing. Without any effect on a gateway or a phone.
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from uuid import UUID

import structlog

from core.errors import AppError
from manager.adoption.names import Names, technical
from manager.gateways import Gateways
from manager.providers.port import Found, Provider, State

log = structlog.get_logger()
WITHIN_S = 3.0
IN_FLIGHT = 8
A_FEW = 3  # so many are asked for one by one: cheaper than everything
AT_ONCE = 20
Key = tuple[str, str]  # a provider, and its name of an instance


@dataclass(frozen=True, kw_only=True)
class Asking:
    """`watchers`: the gateways by provider, for looks that are not repeated. Whoever does not answer in time, or is not
    configured, has said nothing."""

    gateways: Gateways
    watchers: Mapping[str, Provider]
    within_s: float = WITHIN_S

    def states(self, instances: Collection[Key]) -> Mapping[Key, State]:
        """How these stand, as far as their gateways say so; of more than a few only where one answer has them all, or
        they are among the first twenty."""
        said: dict[Key, State] = {}
        until = time.monotonic() + self.within_s
        by_provider = groupby(sorted(instances), lambda key: key[0])
        wanted = {provider: [name for _, name in keys] for provider, keys in by_provider}
        ready = [name for name in self._ready() if name in wanted]
        self._at_once([partial(self._look, name, wanted[name], said, until) for name in ready])
        return dict(said)

    def instances(self, owner: UUID | None) -> Sequence[tuple[str, Found]] | None:
        """The user's own instance, or all that are named after a user, each with its provider. None: nobody says."""
        found: list[tuple[str, Found]] = []

        def ask(provider: str) -> None:
            found.extend((provider, one) for one in _named(self.watchers[provider], owner))

        return found if self._at_once([partial(ask, name) for name in self._ready()]) else None

    def _ready(self) -> list[str]:
        return [upstream.name for upstream in self.gateways.ready()]

    def _look(self, provider: str, names: Sequence[str], said: dict[Key, State], until: float) -> None:
        watcher = self.watchers[provider]
        whole = watcher.states() if len(names) > A_FEW else None
        if whole is not None:
            said.update({(provider, name): whole[name] for name in names if name in whole})
            return
        for name in names[:AT_ONCE]:
            if time.monotonic() < until:
                said[provider, name] = watcher.state(name).state

    def _at_once(self, jobs: Sequence[Callable[[], None]]) -> int:
        """Do them, and how many ended well in time; the others may end by themselves."""
        pool = ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix="asking")
        ended, _ = wait([pool.submit(job) for job in jobs], timeout=self.within_s)
        pool.shutdown(wait=False, cancel_futures=True)
        errors = [error for job in ended if (error := job.exception())]
        for error in errors:
            if not isinstance(error, AppError):
                raise error
            log.warning("gateway_said_nothing", code=error.code)
        return len(ended) - len(errors)


def _named(gateway: Provider, owner: UUID | None) -> Sequence[Found]:
    if owner is None:
        said = [(one, Names().of(one.name)) for one in gateway.instances()]
        return [one for one, whose in said if whose and one.name == technical(whose.user_id)]
    state = gateway.state(technical(owner)).state
    return [] if state is State.NOT_FOUND else [Found(name=technical(owner), stored_state=state)]
