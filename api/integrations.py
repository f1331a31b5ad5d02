"""The instances as a list, and a new one in it (the seed's first route family). The list is there even while the
database is not, and says so."""

import contextlib
import re
import unicodedata
from collections.abc import Iterator
from typing import Any

import structlog
from flask import Blueprint, jsonify, request
from flask.typing import ResponseReturnValue

from api.bodies import organization
from api.openapi.declaring import GATEWAY as OF_GATEWAYS
from api.openapi.declaring import answers
from api.paging import Cursors, limit_of, text_of
from api.schemas.integrations import LONGEST_NAME, CreateInstance, InstanceList, ListQuery, NewInstance
from api.shapes import iso
from core.access import Principal
from core.errors import Malformed, ProviderError, StorageUnavailable
from core.web import Guard, failure, json_body
from manager.lifecycle import Status
from manager.listing import GATEWAY, STORAGE, Instances, Listed, Listing, Question

log = structlog.get_logger()
PATH = "/api/integrations/whatsapp/instances"
LONGEST_SLUG = 64  # characters
POSTPONED = "Refresh automático adiado devido à indisponibilidade do storage."
RECENT = "Exibindo os últimos dados conhecidos."
BY_GATEWAY = "Exibindo apenas o que o gateway informa neste momento."
SILENT = "O gateway não respondeu a tempo; exibindo o último estado conhecido."
NO_QR = (
    "Não foi possível gerar o QR Code no momento devido a uma indisponibilidade externa. Usaremos os dados recentes"
    " e você pode tentar novamente em instantes."
)


def make_blueprint(instances: Instances, guard: Guard, cursors: Cursors) -> Blueprint:
    blueprint = Blueprint("integrations", __name__)

    @blueprint.get(PATH)
    @answers(InstanceList, query=ListQuery)
    def listed() -> ResponseReturnValue:
        """One's own instance, or all by name for administrators. With `refresh`, as their gateways say now."""
        caller, is_forced = guard.user(), request.args.get("refresh", "").lower() in ("1", "true")
        question = _question(caller, cursors)
        tenant = caller.organization_id or str(caller.user_id)
        log.info("instances_listed", tenant=tenant, agreement=question.organization_id, refresh_forced=is_forced)
        found = instances.find(question, refresh=is_forced)
        meta = _meta(found, is_forced, cursors)
        return jsonify(success=True, instances=[_item(one) for one in found.items], meta=meta)

    @blueprint.post(PATH)
    @answers(NewInstance, 201, body=CreateInstance, raises={**OF_GATEWAYS, 400: ("INVALID_INSTANCE_PAYLOAD",)})
    def create() -> ResponseReturnValue:
        """Make one's instance. Its label is the name as a slug."""
        caller, asked = guard.user(), json_body()
        label, theirs = _label(asked.get("name")), organization(caller, _agreement(asked), "agreementId")
        with _storage_told():
            made = instances.create(caller.user_id, theirs, label)
        return jsonify(success=True, instance=_item(made)), 201

    @blueprint.errorhandler(ProviderError)
    def gateway_failed(error: ProviderError) -> ResponseReturnValue:
        """Its own trouble is told in plain words; what is asked for can be asked for again."""
        if error.http_status < 500:
            return failure(error)
        log.warning("request_failed", error_code=error.code, route=PATH, error=error.message)
        error.details["reason"], error.message = error.message, NO_QR
        return failure(error)

    return blueprint


def _question(caller: Principal, cursors: Cursors) -> Question:
    """Users see their own, administrators all, a page at a time."""
    place = cursors.contact(request.args.get("cursor"))
    return Question(
        owner=None if caller.is_admin else caller.user_id,
        organization_id=text_of(request.args, "agreementId") or None,
        limit=limit_of(request.args),
        after=place[0] if place else "",
    )


def _label(name: object) -> str:
    label = _slug(name) if isinstance(name, str) and len(name) <= LONGEST_NAME else ""
    if not label:
        why = f"name must be a text of 1 to {LONGEST_NAME} characters with a letter or a digit"
        raise Malformed(why, code="INVALID_INSTANCE_PAYLOAD")
    return label


def _slug(name: str) -> str:
    """`São João – Loja 2` → `sao-joao-loja-2`; empty where it has no letter and no digit."""
    plain = "".join(one for one in unicodedata.normalize("NFKD", name) if not unicodedata.combining(one))
    return re.sub(r"[\W_]+", "-", plain.lower()).strip("-")[:LONGEST_SLUG].rstrip("-")


def _agreement(asked: dict[str, Any]) -> str | None:
    """An organization, by the name that it has here."""
    agreement = asked.get("agreementId")
    if agreement is not None and not isinstance(agreement, str):
        raise Malformed("agreementId must be a text", code="INVALID_INSTANCE_PAYLOAD")
    return agreement


@contextlib.contextmanager
def _storage_told() -> Iterator[None]:
    """Write down with which words the database refused: a structure that is not migrated looks like an outage else."""
    try:
        yield
    except StorageUnavailable as error:
        kind = type(getattr(error.__cause__, "orig", error.__cause__)).__name__
        log.error("instance_creation_failed", db_code=error.details.get("dbCode"), error=kind)
        raise


def _meta(found: Listing, is_forced: bool, cursors: Cursors) -> dict[str, Any]:
    last = found.items[-1] if found.more else None
    return {
        "storageFallback": found.source != STORAGE,
        "warnings": _warnings(found, is_forced),
        "source": found.source,
        "readAt": iso(found.read_at),
        "refresh": {"requested": is_forced, "live": found.live},
        "next_cursor": cursors.write((last.name, last.id)) if last else None,
    }


def _warnings(found: Listing, is_forced: bool) -> list[str]:
    if found.source == STORAGE:
        return [SILENT] if is_forced and found.items and not found.live else []
    return [POSTPONED, BY_GATEWAY if found.source == GATEWAY else RECENT]


def _item(one: Listed) -> dict[str, Any]:
    return {
        "id": str(one.id) if one.id else None,
        "name": one.label or one.name,
        "instanceName": one.name,
        "status": one.status,
        "connected": one.status is Status.CONNECTED,
        "phoneNumber": one.phone,
        "profileName": one.profile_name,
        "provider": one.provider,
        "userId": str(one.user_id) if one.user_id else None,
        "agreementId": one.organization_id,
        "createdAt": iso(one.created_at),
        "lastConnectedAt": iso(one.connected_at),
        "lastUpdate": iso(one.updated_at),
    }
