"""What a client subscribes to: the webhook object of create, /webhook/set and /webhook/find. Pure."""

from collections.abc import Mapping
from typing import Any

from sandbox import errors
from sandbox.errors import ApiError
from sandbox.profiles import Profile
from sandbox.state import Instance, Webhook


def created(wanted: Any, profile: Profile) -> Webhook:
    """At create nothing is checked: any event names, any url, and `enabled` is ignored."""
    events = wanted.get("events") if isinstance(wanted, dict) else None
    if not isinstance(events, list):
        raise ApiError(400, [errors.LENGTH_OF_UNDEFINED])
    return Webhook(
        url=str(wanted.get("url") or ""),
        events=_events(events, profile),
        headers=wanted.get("headers"),
        by_events=wanted.get("byEvents") is True,
        base64=wanted.get("base64") is True,
    )


def echo(wanted: object) -> dict[str, Any]:
    """Create answers only what it was given, under other names."""
    if not isinstance(wanted, dict):
        return {}
    names = {"url": "webhookUrl", "headers": "webhookHeaders", "byEvents": "webhookByEvents"}
    names["base64"] = "webhookBase64"
    return {answered: wanted[given] for given, answered in names.items() if given in wanted}


def changed(old: Webhook | None, body: Mapping[str, Any], profile: Profile) -> Webhook:
    """The row after POST /webhook/set: what is omitted keeps its value. Raises ApiError."""
    wanted = body.get("webhook")
    if not isinstance(wanted, dict):
        raise errors.invalid('instance requires property "webhook"')
    _check(wanted, profile)
    before = old or Webhook(url="", events=[])
    return Webhook(
        url=str(wanted["url"]),
        events=_events(wanted["events"], profile) if wanted["enabled"] else [],
        enabled=bool(wanted["enabled"]),
        headers=wanted.get("headers", before.headers),
        by_events=wanted.get("byEvents", before.by_events),
        base64=wanted.get("base64", before.base64),
        id=before.id,
        created_at=before.created_at,
    )


def row(instance: Instance) -> dict[str, Any] | None:
    hook = instance.webhook
    if hook is None:
        return None
    return {
        "id": hook.id,
        "url": hook.url,
        "headers": hook.headers,
        "enabled": hook.enabled,
        "events": hook.events,
        "webhookByEvents": hook.by_events,
        "webhookBase64": hook.base64,
        "createdAt": hook.created_at,
        "updatedAt": hook.updated_at,
        "instanceId": instance.id,
    }


def _check(wanted: Mapping[str, Any], profile: Profile) -> None:
    missing = [f'webhook requires property "{name}"' for name in ("enabled", "url") if name not in wanted]
    if missing:
        raise errors.invalid(*missing)
    if profile.checks_url and not str(wanted["url"]).startswith(("http://", "https://")):
        raise ApiError(400, ['Invalid "url" property'])
    if wanted["enabled"] and not isinstance(wanted.get("events"), list):
        raise ApiError(500, errors.LENGTH_OF_UNDEFINED)
    known = ",".join(profile.events)
    unknown = [index for index, name in enumerate(wanted.get("events") or []) if name not in profile.events]
    if unknown:
        raise errors.invalid(*(f"webhook.events[{index}] is not one of enum values: {known}" for index in unknown))


def _events(given: list[str], profile: Profile) -> list[str]:
    """An empty list means all of them."""
    return list(given) if given else list(profile.events)
