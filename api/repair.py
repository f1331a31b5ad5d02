"""What is set aside, and its way back, for administrators. Never a delivery's body or what people wrote."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Protocol

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue
from pydantic import Field
from typing_extensions import TypedDict

from api.openapi.declaring import answers
from api.paging import Cursors, Paging, limit_of
from api.schemas.admin import DryRun, Replayed, SetAside
from api.schemas.common import Page as PageOf
from api.schemas.common import When, one_of
from core import veil
from core.errors import Malformed
from core.selection import BIGGEST, LONGEST, MOST_IDS, STATES, Repaired, Selection
from core.web import Guard, json_body

FILTERS = ("state", "instance", "event", "reason")
TRIED_AT_MOST = 2_000  # deliveries: a dry run is done while the caller waits; `ops.py replay --dry-run` knows no limit
SHOWN_AT_MOST = 1_000  # changes

Word = Annotated[str, Field(max_length=LONGEST)]
State = Annotated[str, one_of(("", *STATES))]


class Chosen(Paging, total=False):
    state: State
    instance: Word
    event: Word
    reason: Word


class Asked(TypedDict, total=False, closed=True):
    """Deliveries that meet all of it; null asks for nothing. `since` and `until`: when they came in."""

    ids: (
        Annotated[list[Annotated[int, Field(ge=-BIGGEST, lt=BIGGEST)]], Field(min_length=1, max_length=MOST_IDS)] | None
    )
    instance: Word | None
    event: Word | None
    state: State | None
    reason: Word | None
    since: When | None
    until: When | None
    dryRun: bool


class Item(Protocol):
    """A delivery that is set aside."""

    @property
    def id(self) -> int: ...
    @property
    def instance(self) -> str | None: ...
    @property
    def event(self) -> str | None: ...
    @property
    def state(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def fingerprint(self) -> str | None: ...
    @property
    def waits_for(self) -> str | None: ...
    @property
    def issues(self) -> Sequence[str] | None: ...
    @property
    def received_at(self) -> datetime: ...
    @property
    def at(self) -> datetime: ...
    @property
    def size(self) -> int: ...


class Page(Protocol):
    @property
    def items(self) -> Sequence[Item]: ...
    @property
    def last(self) -> tuple[datetime, int] | None: ...


class Repair(Protocol):
    """webhooks.repair.Repair, from bootstrap."""

    def find(self, selection: Selection, *, limit: int, after: tuple[datetime, int] | None = None) -> Page: ...
    def replay(self, selection: Selection, *, actor: str) -> Repaired: ...
    def try_replay(self, selection: Selection, *, at_most: int | None = None) -> Repaired: ...


def make_blueprint(repair: Repair, guard: Guard, cursors: Cursors) -> Blueprint:
    blueprint = Blueprint("repair", __name__)

    @blueprint.get("/api/admin/quarantine")
    @answers(PageOf[SetAside], admin=True, query=Chosen)
    def quarantine() -> ResponseReturnValue:
        """What is set aside, and why."""
        guard.admin()
        selection = Selection.of({name: request.args.get(name) for name in FILTERS})
        after = cursors.delivery(request.args.get("cursor"))
        page = repair.find(selection, limit=limit_of(request.args), after=after)
        return jsonify(success=True, items=[item(one) for one in page.items], next_cursor=cursors.write(page.last))

    @blueprint.post("/api/admin/replay")
    @answers(DryRun | Replayed, admin=True, body=Asked)
    def replay() -> ResponseReturnValue:
        """Do deliveries again. With `dryRun` it says what would change, and changes nothing."""
        caller = guard.admin()
        asked = json_body()
        dry_run = asked.pop("dryRun", False)
        if not isinstance(dry_run, bool):
            raise Malformed("dryRun must be true or false")
        selection = Selection.of(asked)
        if dry_run:
            return jsonify(tried(repair.try_replay(selection, at_most=TRIED_AT_MOST)))
        done = repair.replay(selection, actor=str(caller.user_id))
        return jsonify(success=True, replayed=done.replayed, refused=dict(done.refused))

    return blueprint


def item(one: Item) -> dict[str, Any]:
    return {
        "id": one.id,
        "instance": one.instance,
        "event": one.event,
        "state": one.state,
        "reason": one.reason,
        "fingerprint": one.fingerprint,
        "waitsFor": one.waits_for,
        "issues": list(one.issues or ()),
        "receivedAt": _stamp(one.received_at),
        "at": _stamp(one.at),
        "size": one.size,
    }


def tried(done: Repaired) -> dict[str, Any]:
    """`changes` are the first 1,000 of `changed`, with lengths instead of texts."""
    changes = done.changes or ()
    return {
        "success": True,
        "dryRun": True,
        "replayed": done.replayed,
        "refused": dict(done.refused),
        "failed": dict(done.failed),
        "frames": done.frames,
        "changed": len(changes),
        "changes": [veil.shown(change) for change in changes[:SHOWN_AT_MOST]],
    }


def _stamp(moment: datetime) -> str:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
