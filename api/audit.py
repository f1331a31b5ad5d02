"""What was changed by hand or decided by itself; and a merge of contacts undone."""

from typing import Any

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue

from api.openapi.declaring import answers
from api.paging import Cursors, Paging, limit_of, text_of
from api.schemas.admin import AuditEntry as Entry
from api.schemas.admin import Undone
from api.schemas.common import Page
from api.shapes import iso, page
from conversations.service import Conversations
from core import audit
from core.audit import AuditEntry
from core.db import Transaction
from core.veil import WORDS, veiled
from core.web import Guard

SHOWN = WORDS | {"loser", "event", "since", "until"}  # names and numbers of people are there for the undo alone


class Wanted(Paging, total=False):
    action: str


def make_blueprint(transaction: Transaction, conversations: Conversations, guard: Guard, cursors: Cursors) -> Blueprint:
    blueprint = Blueprint("audit", __name__)

    @blueprint.get("/api/admin/audit")
    @answers(Page[Entry], admin=True, query=Wanted)
    def entries() -> ResponseReturnValue:
        """What was done by hand, or decided by itself, newest first."""
        guard.admin()
        limit, before = limit_of(request.args), cursors.entry(request.args.get("cursor"))
        action = text_of(request.args, "action") or None
        with transaction() as connection:
            found = audit.newest(connection, action=action, before=before, limit=limit + 1)
        last = (found[limit - 1].id,) if len(found) > limit else None
        return jsonify(page([_item(entry) for entry in found[:limit]], cursors.write(last)))

    @blueprint.post("/api/admin/audit/<int:entry_id>/undo")
    @answers(Undone, admin=True, raises={409: ("NOT_A_MERGE", "ALREADY_UNDONE", "LOST_RACE")})
    def undo(entry_id: int) -> ResponseReturnValue:
        """Part two contacts that were merged."""
        caller = guard.admin()
        contact = conversations.split_contact(entry_id, str(caller.user_id))
        return jsonify({"success": True, "contactId": str(contact)})

    return blueprint


def _item(entry: AuditEntry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "at": iso(entry.at),
        "actor": entry.actor,
        "action": entry.action,
        "subject": entry.subject,
        "scope": entry.scope,
        "details": {name: veiled(name, value, SHOWN) for name, value in entry.details.items()},
    }
