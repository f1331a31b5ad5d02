"""One webhook as it goes over the wire: wanted or not, url, headers, body. Pure but for the clock."""

import base64
import hmac
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from requests.structures import CaseInsensitiveDict

from sandbox import ids
from sandbox.profiles import Profile
from sandbox.state import Instance, Webhook

JWT_LIFE_S = 600


class NoTokenError(Exception):
    """The key for the token is empty: Evolution fails before it sends, and who waits, waits on."""


@dataclass(frozen=True, kw_only=True)
class Parcel:
    """An event ready to be posted: the same bytes and headers in every attempt."""

    instance: str
    event: str
    url: str
    headers: dict[str, str]
    body: bytes
    done: Callable[[], None] | None

    def again(self) -> "Parcel":
        """The same once more, without anybody who waits for it."""
        return replace(self, done=None)


def key_of(event: str) -> str:
    """`group-participants.update` → `GROUP_PARTICIPANTS_UPDATE`: the name a subscription uses."""
    return re.sub(r"[.-]", "_", event).upper()


def is_wanted(webhook: Webhook | None, event: str) -> bool:
    if webhook is None or not webhook.enabled or not webhook.url.startswith(("http://", "https://")):
        return False
    return key_of(event) in webhook.events


def url_of(webhook: Webhook, event: str) -> str:
    """By events the name is glued on as it is: a url ending in "/" gives "//", a query gets it too."""
    if not webhook.by_events:
        return webhook.url
    return webhook.url + "/" + key_of(event).replace("_", "-").lower()


def headers_of(instance: Instance, webhook: Webhook, event: str, profile: Profile) -> dict[str, str]:
    """The client's headers, the instance's own, and the token in place of `jwt_key`. Raises NoTokenError."""
    own = dict(webhook.headers) if isinstance(webhook.headers, dict) else {}
    signs = profile.signs and "jwt_key" in own
    key = own.pop("jwt_key") if signs else None
    headers: CaseInsensitiveDict[str] = CaseInsensitiveDict()
    headers.update({"Accept": "application/json, text/plain, */*", "Content-Type": "application/json"})
    headers["User-Agent"] = profile.user_agent
    if profile.instance_headers:
        headers.update({"X-Instance-ID": instance.id, "X-Instance-Name": instance.name, "X-Event-Type": event})
        headers["X-Timestamp"] = ids.now_iso()
    headers.update({name: str(value) for name, value in own.items()})
    if signs:
        headers["Authorization"] = f"Bearer {_token(key)}"
    return dict(headers)


def envelope(instance: Instance, event: str, data: object, server_url: str) -> dict[str, Any]:
    """`{event, instance, data, destination, date_time, sender?, server_url, apikey}`."""
    body: dict[str, Any] = {"event": event, "instance": instance.name, "data": data}
    body |= {"destination": instance.webhook.url if instance.webhook else "", "date_time": ids.local_iso()}
    if instance.live.wuid:
        body["sender"] = instance.live.wuid
    return body | {"server_url": server_url, "apikey": instance.token}


def pack(
    instance: Instance,
    event: str,
    data: object,
    *,
    server_url: str,
    done: Callable[[], None] | None,
    profile: Profile,
) -> Parcel | None:
    """The event as it will be posted, or None when the instance does not want it. Raises NoTokenError."""
    webhook = instance.webhook
    if webhook is None or not is_wanted(webhook, event):
        return None
    body = json.dumps(envelope(instance, event, data, server_url), ensure_ascii=False, separators=(",", ":"))
    return Parcel(
        instance=instance.name,
        event=event,
        url=url_of(webhook, event),
        headers=headers_of(instance, webhook, event, profile),
        body=body.encode(),
        done=done,
    )


def _token(key: object) -> str:
    """An HS256 JWT, signed by hand: any key will do for Evolution, and libraries mind the short ones."""
    if not isinstance(key, str) or not key:
        raise NoTokenError
    issued_s = int(time.time())
    claims = {"iat": issued_s, "exp": issued_s + JWT_LIFE_S, "app": "evolution", "action": "webhook"}
    signed = f"{_segment({'alg': 'HS256', 'typ': 'JWT'})}.{_segment(claims)}"
    return f"{signed}.{_base64url(hmac.digest(key.encode(), signed.encode(), 'sha256'))}"


def _segment(part: dict[str, Any]) -> str:
    return _base64url(json.dumps(part, separators=(",", ":")).encode())


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")
