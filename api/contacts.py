"""Contacts: of the caller's organization, or their own where there is none."""

from typing import Annotated

from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue
from pydantic import Field
from typing_extensions import TypedDict

from api import shapes
from api.openapi.declaring import Codes, answers
from api.paging import Cursors, Search, limit_of, text_of
from api.schemas.chats import Contact, KeptContact
from api.schemas.common import Page
from conversations.service import Conversations, Whose
from core.access import Principal
from core.clock import Clock
from core.errors import Malformed, NotFound
from core.web import Guard, json_body

SHORTEST, LONGEST = 8, 15  # digits; E.164 ends at 15
LONGEST_NAME = 200
NO_ORGANIZATION: Codes = {404: ("ORGANIZATION_NOT_FOUND",)}


class Wanted(Search, total=False):
    organization_id: str


class Kept(TypedDict, total=False):
    """Without `phone_number` it is a question for the list."""

    phone_number: Annotated[str, Field(min_length=SHORTEST, description=f"{SHORTEST} to {LONGEST} digits")]
    name: Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)] | None
    organization_id: str | None


def make_blueprint(conversations: Conversations, guard: Guard, cursors: Cursors, clock: Clock) -> Blueprint:
    blueprint = Blueprint("contacts", __name__)

    def listed(whose: Whose) -> ResponseReturnValue:
        after = cursors.contact(request.args.get("cursor"))
        words, limit = text_of(request.args, "q"), limit_of(request.args)
        page = conversations.find_contacts(whose, words=words, limit=limit, after=after)
        return jsonify(shapes.page([shapes.contact(row) for row in page.items], cursors.write(page.last)))

    @blueprint.get("/api/contacts")
    @answers(Page[Contact], query=Wanted, raises=NO_ORGANIZATION)
    def contacts() -> ResponseReturnValue:
        """Contacts by name. The organization's, or one's own without one."""
        return listed(_whose(guard.user(), request.args.get("organization_id")))

    @blueprint.post("/api/contacts")
    @answers(KeptContact | Page[Contact], body=Kept, raises={409: ("LOST_RACE",), **NO_ORGANIZATION})
    def keep() -> ResponseReturnValue:
        """Write a contact down. A name given so stays. Without a phone number it lists."""
        caller, asked = guard.user(), json_body()
        whose = _whose(caller, asked.get("organization_id"))
        if "phone_number" not in asked:
            return listed(whose)
        phone, name = _phone(asked["phone_number"]), _name(asked.get("name"))
        row = conversations.keep_contact(whose, phone=phone, name=name, at=clock.now())
        return jsonify({"success": True, "contact": shapes.contact(row)})

    return blueprint


def _whose(caller: Principal, organization: object) -> Whose:
    """Whose contacts are meant. Somebody else's organization is not found, but by an administrator."""
    if organization in (None, "", caller.organization_id):
        return caller.organization_id, caller.user_id
    if caller.is_admin and isinstance(organization, str) and "\0" not in organization:
        return organization, None
    raise NotFound("There is no such organization", code="ORGANIZATION_NOT_FOUND")


def _phone(value: object) -> str:
    """Digits of a number written by a person or as a JID; never corrected. Raises Malformed."""
    written = value.partition("@")[0].partition(":")[0] if isinstance(value, str) else ""
    digits = "".join(character for character in written if character.isascii() and character.isdigit())
    strange = set(written) - set("0123456789 +-().")
    if strange or not SHORTEST <= len(digits) <= LONGEST:
        raise Malformed(f"phone_number must have {SHORTEST} to {LONGEST} digits")
    return digits


def _name(value: object) -> str | None:
    if value is None:
        return None
    name = value.replace("\0", "").strip() if isinstance(value, str) else ""
    if not 0 < len(name) <= LONGEST_NAME:
        raise Malformed(f"name must be a text of 1 to {LONGEST_NAME} characters")
    return name
