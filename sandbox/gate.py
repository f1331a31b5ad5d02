"""What stands before every Evolution route: the faults that are on, the licence of 2.4, and CORS."""

import time

from flask import Response, request

from sandbox import ids
from sandbox.errors import ApiError
from sandbox.faults import Switchboard
from sandbox.profiles import Profile
from sandbox.routes import answer

HALF_A_BODY = '{"instance":{"instanceName":'
PROXY_PAGE = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
# Without a licence these still answer.
_FREE = frozenset({"/"})


class Gate:
    """`licensed` is whether a version that needs a licence has been activated."""

    def __init__(self, faults: Switchboard, profile: Profile, *, licensed: bool, cors_origin: str) -> None:
        self._faults = faults
        self._needs_licence = profile.needs_licence and not licensed
        self._cors_origin = cors_origin
        self._id = ids.instance_id()

    def admit(self) -> Response | None:
        """The answer that takes the place of Evolution's, or None. May hold the caller."""
        if request.path == "/sandbox" or request.path.startswith("/sandbox/"):
            return None
        faults = self._faults.now
        time.sleep(faults.latency_ms / 1000)
        if faults.hang:
            self._faults.hang(faults)
        if self._faults.fails():
            raise ApiError(faults.status, ["a fault of the sandbox"])
        if faults.garbage:
            return _garbage(html=faults.garbage == "html")
        if self._cors_origin not in ("*", request.headers.get("Origin")):
            raise ApiError(500, "Not allowed by CORS")
        return self._without_licence() if self._is_locked(faults.license_required) else None

    def _is_locked(self, wanted: bool | None) -> bool:
        locked = self._needs_licence if wanted is None else wanted
        return locked and request.path not in _FREE

    def _without_licence(self) -> Response:
        base = request.host_url.rstrip("/")
        body = {"error": "service not activated", "code": "LICENSE_REQUIRED", "register_url": f"{base}/manager"}
        body |= {"instance_id": self._id, "docs_url": "https://doc.evolution-api.com"}
        return answer(body | {"message": "This service has to be activated with a licence."}, 503)


def _garbage(*, html: bool) -> Response:
    if html:
        return Response(PROXY_PAGE, 200, content_type="text/html")
    return Response(HALF_A_BODY, 200, content_type="application/json; charset=utf-8")
