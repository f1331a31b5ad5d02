"""A stand-in identity provider: keys, the tokens they sign, and a key server on a real socket."""

import json
import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

PATH = "/auth/v1/.well-known/jwks.json"
GUARD_S = 60


@cache
def rsa_key(name: str, bits: int = 2048) -> rsa.RSAPrivateKey:
    """The same for the same name: they are dear to make."""
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


@cache
def ec_key(name: str) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def published(kid: str | None, key: Any, **more: object) -> dict[str, Any]:
    """The public half as a JSON Web Key."""
    algorithm = RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else ECAlgorithm
    found: dict[str, Any] = algorithm.to_jwk(key.public_key(), as_dict=True)
    return found | ({"kid": kid} if kid else {}) | more


def signed(key: Any, kid: str | None, *, algorithm: str | None = None, **claims: Any) -> str:
    facts = {"sub": str(uuid4()), "exp": datetime.now(UTC) + timedelta(hours=1), **claims}
    algorithm = algorithm or ("RS256" if isinstance(key, rsa.RSAPrivateKey) else "ES256")
    return jwt.encode(facts, key, algorithm, headers={"kid": kid} if kid else None)


class KeyServer:
    """`with KeyServer(published("1", key)) as server: server.url`. `asked` counts the requests."""

    def __init__(self, *keys: dict[str, Any]) -> None:
        self.body = b""
        self.status, self.headers = 200, dict[str, str]()
        self.asked = 0
        self.answering = threading.Event()  # until it is set, nobody gets an answer
        self.answering.set()
        self.publish(keys)

    def publish(self, keys: Sequence[dict[str, Any]]) -> None:
        self.body = json.dumps({"keys": list(keys)}).encode()

    def __enter__(self) -> Self:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}{PATH}"
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        """Nobody answers there any more. Twice is safe."""
        self.answering.set()
        self._server.shutdown()
        self._thread.join(GUARD_S)
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        ours = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                ours.asked += 1
                ours.answering.wait(GUARD_S)
                self.send_response(ours.status if self.path == PATH else 404)
                for name, value in {"Content-Length": str(len(ours.body)), **ours.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(ours.body)

            def log_message(self, *_: object) -> None:
                """Quiet."""

        return Handler
