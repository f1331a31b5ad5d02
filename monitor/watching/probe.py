"""Looks at a gateway's instances, read-only: all in one answer where the server gives one, one by one where that leaves
doubts. Changes nothing on the gateway, and nothing on the phone.

`/metrics` is truth. The list of instances says what the server's database remembers: on big servers it may clear an
instance that has just been heard of, and it never convicts.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from core.errors import AppError, CircuitOpen, LicenceRequired, ProviderError, ProviderRefused
from manager.providers.port import Provider, State
from monitor.policy.servers import Trouble

NOBODY = "nobody-has-this-name"
A_FEW = 3  # so many are asked for one by one: cheaper than everything
AT_ONCE = 100  # single questions a look: 20 a second where looks are 5 s apart
IN_FLIGHT = 8
BIG = 500  # instances: here the list is worth its price
NO_BULK_FOR_S = 600.0
ANSWERS = (State.CONNECTED, State.CONNECTING, State.DISCONNECTED, State.NOT_FOUND, State.REFUSED)


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """An instance to look at, by its gateway's name. `heard`: something came from it since the last look."""

    name: str
    heard: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """What came of it. `probe`: the server was asked as a whole and answered (True) or not (False, and why), None: it
    was not asked. `states` of single instances; `troubles`: why one is missing there. Who is in neither was not asked:
    there were too many, or the server has been given up for this time. `missing`: how many a whole answer lacked."""

    probe: bool | None = None
    trouble: Trouble | None = None
    states: Mapping[str, State] = field(default_factory=dict)
    troubles: Mapping[str, Trouble] = field(default_factory=dict)
    answered: int = 0
    missing: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Survey:
    """`states` of all, None where there is no such answer; `look`: there is nothing more to look at, this came of
    it."""

    states: Mapping[str, State] | None = None
    look: Look | None = None

    @property
    def open(self) -> list[str]:
        return [name for name, state in (self.states or {}).items() if state is State.CONNECTED]


class Probe:
    """One gateway server. Safe for one look at a time. `refused`: whether our key was refused when it was last shown,
    by whomever; the answer for all is given without one."""

    def __init__(
        self,
        provider: Provider,
        refused: Callable[[], bool] = lambda: False,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._provider, self._refused, self._monotonic = provider, refused, monotonic
        self._no_bulk_until = 0.0

    def ask_server(self) -> Look:
        """Only whether the server is there and lets us in."""
        try:
            self._provider.states()
            self._provider.state(NOBODY)  # also: is our key good?
        except AppError as error:
            return Look(probe=False, trouble=trouble_of(error))
        return Look(probe=True)

    def survey(self, due: int) -> Survey:
        """The live state of all, in one answer, where the server gives one and enough are `due` to be worth it."""
        if self._refused():
            return Survey(look=self.ask_server())
        if due <= A_FEW or self._monotonic() < self._no_bulk_until:
            return Survey()
        try:
            states = self._provider.states()
        except AppError as error:
            return Survey(look=Look(probe=False, trouble=trouble_of(error)))
        if states is None:
            self._no_bulk_until = self._monotonic() + NO_BULK_FOR_S
        return Survey(states=states)

    def look(self, targets: Sequence[Target], surveyed: Survey) -> Look:
        """At all of these, as far as the survey says, and one by one at the first hundred of the rest."""
        if surveyed.look:
            return surveyed.look
        try:
            whole = self._listed(targets) if surveyed.states is None and len(targets) >= BIG else surveyed.states
        except AppError as error:
            return Look(probe=False, trouble=trouble_of(error))
        if whole is None:
            return self._one_by_one([target.name for target in targets])
        known = {name: state for name, state in whole.items() if state in ANSWERS}
        rest = self._one_by_one([target.name for target in targets if target.name not in known])
        missing = sum(target.name not in whole for target in targets)
        return replace(rest, probe=True, states={**known, **rest.states}, missing=missing)

    def _listed(self, targets: Sequence[Target]) -> Mapping[str, State]:
        """What the server's list says, UNKNOWN where it leaves doubts."""
        heard = {target.name for target in targets if target.heard}
        return {
            one.name: State.CONNECTED if one.name in heard and one.stored_state is State.CONNECTED else State.UNKNOWN
            for one in self._provider.instances()
        }

    def _one_by_one(self, names: Sequence[str]) -> Look:
        asked = names[:AT_ONCE]
        with ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix="probe") as pool:
            found = list(pool.map(self._one, asked))
        states = {name: state for name, state in zip(asked, found, strict=True) if isinstance(state, State)}
        troubles = {name: why for name, why in zip(asked, found, strict=True) if isinstance(why, Trouble)}
        return Look(states=states, troubles=troubles, answered=len(states))

    def _one(self, name: str) -> State | Trouble | None:
        """None where it was not asked at all: the breaker is open, and has said why before."""
        try:
            state = self._provider.state(name).state
        except CircuitOpen:
            return None
        except ProviderError as error:
            return trouble_of(error)
        return state if state in ANSWERS else State.DISCONNECTED  # 200 without a state: it is not there for us


def trouble_of(error: AppError) -> Trouble:
    if isinstance(error, LicenceRequired):
        return Trouble.LICENCE
    return Trouble.AUTH if isinstance(error, ProviderRefused) else Trouble.UNREACHABLE
