"""Evolution's HTTP, and nothing else: one method a call, failures as our errors.

Redirects are refused (`requests` would carry our key to another host), proxies of the environment ignored,
answers cut at 16 MB. Never trusts a 200: `{"error":true}` is a failure.
"""

import json
import socket
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import requests
import urllib3
from requests.adapters import HTTPAdapter

from core import errors
from manager.providers.evolution import wire
from manager.providers.port import Hook, Snapshot, State

IN_FLIGHT = 16


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How long an answer may take, and how large it may be. A slow WhatsApp holds a call for up to 60 s."""

    connect_s: float = 5.0
    read_s: float = 60.0
    deadline_s: float = 90.0
    largest_bytes: int = 16 * 1024 * 1024


USUAL = Limits()


class EvolutionClient:
    """A Provider. One object a server; safe for many threads."""

    def __init__(self, url: str, key: str, limits: Limits = USUAL) -> None:
        self._url, self._limits = url, limits
        self._http = requests.Session()
        self._http.trust_env = False
        self._http.headers.update({"apikey": key, "Accept": "application/json"})
        adapter = HTTPAdapter(pool_connections=1, pool_maxsize=IN_FLIGHT, pool_block=True)
        self._http.mount("http://", adapter)
        self._http.mount("https://", adapter)

    def create(self, name: str, hook: Hook) -> Snapshot:
        """Without `qrcode`: the QR is asked for by connect, which does not hold the call for five seconds."""
        settings = wire.hook_settings(hook.url, hook.token, hook.jwt_key)
        body = {"instanceName": name, "integration": "WHATSAPP-BAILEYS", "qrcode": False, "webhook": settings}
        return wire.snapshot(name, self._call("POST", "/instance/create", body))

    def connect(self, name: str) -> Snapshot:
        return wire.snapshot(name, self._call("GET", f"/instance/connect/{quote(name, safe='')}"))

    def state(self, name: str) -> Snapshot:
        try:
            return wire.snapshot(name, self._call("GET", f"/instance/connectionState/{quote(name, safe='')}"))
        except errors.InstanceUnknown:
            return Snapshot(name=name, state=State.NOT_FOUND)

    def set_hook(self, name: str, hook: Hook) -> None:
        settings = wire.hook_settings(hook.url, hook.token, hook.jwt_key)
        self._call("POST", f"/webhook/set/{quote(name, safe='')}", {"webhook": settings})

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        try:
            with self._http.request(
                method,
                self._url + path,
                json=body,
                timeout=(self._limits.connect_s, self._limits.read_s),
                allow_redirects=False,
                stream=True,
            ) as answer:
                return _understood(answer, _read(answer, self._limits))
        except requests.ConnectTimeout as error:
            raise errors.Unavailable("The gateway does not answer", sent=False) from error
        except (requests.Timeout, urllib3.exceptions.TimeoutError) as error:
            raise errors.TimedOut("The gateway did not answer in time") from error
        except requests.ConnectionError as error:
            raise errors.Unavailable("The gateway cannot be reached", sent=_was_sent(error)) from error
        except urllib3.exceptions.ProtocolError as error:  # the body is read below requests
            raise errors.Unavailable("The gateway's answer broke off") from error
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise errors.BadResponse("The gateway's answer cannot be read") from error


def _read(answer: requests.Response, limits: Limits) -> bytes:
    """The body, within size and time: a server that drips must not hold a thread."""
    until = time.monotonic() + limits.deadline_s
    body = bytearray()
    while piece := answer.raw.read1(65536, decode_content=True):  # what is there, not a full buffer
        body += piece
        if len(body) > limits.largest_bytes:
            raise errors.BadResponse("The gateway's answer is too large", provider_status=answer.status_code)
        if time.monotonic() > until:
            raise errors.TimedOut("The gateway's answer took too long", provider_status=answer.status_code)
    return bytes(body)


def _understood(answer: requests.Response, body: bytes) -> Any:
    """The JSON of a success. Raises the error that the status stands for; texts are never branched on."""
    status = answer.status_code
    try:
        document, readable = json.loads(body), True
    except (ValueError, RecursionError):
        document, readable = None, False
    if status < 300 and readable:
        if isinstance(document, dict) and document.get("error") is True:
            raise errors.ProviderError(f"The gateway failed: {_said(document)}", provider_status=status)
        return document
    if isinstance(document, dict) and document.get("code") == "LICENSE_REQUIRED":
        raise errors.ProviderRefused(
            "The gateway asks for its licence", code="LICENSE_REQUIRED", provider_status=status
        )
    if not readable and status not in (502, 503, 504):
        raise errors.BadResponse(f"The gateway answered {status} without JSON", provider_status=status)
    raise _refusal(status, _said(document))


def _refusal(status: int, said: str) -> errors.ProviderError:
    text = f"The gateway answered {status}: {said}" if said else f"The gateway answered {status}"
    if status in (502, 503, 504):
        return errors.Unavailable(text, provider_status=status)
    kinds: dict[int, type[errors.ProviderError]] = {
        401: errors.ProviderRefused,
        403: errors.NameInUse,  # Evolution says 403 for a name in use, and never for a key
        404: errors.InstanceUnknown,
        429: errors.RateLimited,
    }
    return kinds.get(status, errors.ProviderError)(text, provider_status=status)


def _said(document: object) -> str:
    return wire.reason_text(document)[:200]


def _was_sent(error: requests.ConnectionError) -> bool:
    """False only where the connection was never made: then nothing can have happened on the other side."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ConnectionRefusedError | socket.gaierror):
            return False
        reasons = [*seen.args, getattr(seen, "reason", None)]
        seen = seen.__cause__ or seen.__context__ or next((r for r in reasons if isinstance(r, BaseException)), None)
    return True
