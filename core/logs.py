"""Logs: one JSON object a line with a stable `action`; secrets, phone numbers and message texts never.

`configure` is called once by each program. Packages use `structlog.get_logger()` and bind ids.
"""

import logging
import re
import sys
import threading
from collections.abc import Mapping, MutableMapping
from logging.handlers import WatchedFileHandler
from pathlib import Path
from traceback import walk_tb
from types import TracebackType
from typing import Any

import structlog

HIDDEN = "[hidden]"
SECRET_NAMES = frozenset({
    "apikey", "api_key", "token", "instancetoken", "authorization", "cookie", "set-cookie", "jwt", "jwt_key", "ticket",
    "password", "secret", "destination", "base64", "code", "pairingcode", "qr", "qrcode", "qr_code", "text", "content",
    "message", "body",
})  # fmt: skip
_BEARER = re.compile(r"(?i)\b(bearer\s+|zt_|whk_|eyJ)[\w.~+/=-]{8,}")
_PATH_TOKEN = re.compile(r"(/(?:api/webhook/t|login)/)[^\s/?\"']+")
_USERINFO = re.compile(r"(\w+://)[^\s/@]+@")
# PostgreSQL quotes rows and values there, over many lines if need be
_DETAIL = re.compile(r"(?s)\n(?:DETAIL|CONTEXT):  .*?(?=\n\[SQL: |\n+The above exception |\n+During handling of |\Z)")
_PHONE = re.compile(r"(?<![\w-])(\d{4})\d{3,7}(\d{4})(?=@|(?![\w-]))")


def redact_text(text: str) -> str:
    """Hide bearers, tokens in paths, passwords in URLs, rows in errors; mask phone numbers to `5511*****9999`."""
    text = _DETAIL.sub(f"\nDETAIL:  {HIDDEN}", text)
    text = _BEARER.sub(HIDDEN, text)
    text = _PATH_TOKEN.sub(rf"\1{HIDDEN}", text)
    text = _USERINFO.sub(rf"\1{HIDDEN}@", text)
    return _PHONE.sub(r"\1*****\2", text)


def redact(value: Any) -> Any:
    """The same value without what must not be logged, at any depth."""
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, Mapping):
        return {k: HIDDEN if str(k).lower() in SECRET_NAMES else redact(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redact(item) for item in value]
    return HIDDEN if isinstance(value, bytes) else value


def _redacted(_: Any, __: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    action = event.pop("event", "")
    return {"action": redact_text(str(action)), **redact(dict(event))}


def configure(level: str = "INFO", file: Path | None = None) -> None:
    """Send every log line of the process, libraries' and last words too, through one redacting JSON formatter."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _redacted,
    ]
    structlog.configure(
        processors=[*shared[:-1], structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    render = [structlog.stdlib.ProcessorFormatter.remove_processors_meta, _redacted]
    # ASCII only: U+2028 and the like are line ends to some readers, and a lone surrogate has no bytes
    formatter = structlog.stdlib.ProcessorFormatter(
        processors=[*render, structlog.processors.JSONRenderer()],
        foreign_pre_chain=shared[:-1],
    )
    handler = WatchedFileHandler(file) if file else logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(handlers=[handler], level=level, force=True)
    for talkative in ("apscheduler", "urllib3"):  # the second quotes paths, and some hold a token
        logging.getLogger(talkative).setLevel(logging.WARNING)
    sys.excepthook = _last_words
    threading.excepthook = _threads_last_words


def _last_words(kind: type[BaseException], _: BaseException | None, at: TracebackType | None) -> None:
    """What ended the process or a thread, and where; its text stays out, for it may quote anything."""
    places = [f"{frame.f_code.co_filename}:{line} {frame.f_code.co_name}" for frame, line in walk_tb(at)]
    structlog.get_logger().critical("unhandled_exception", type=kind.__qualname__, at=places)


def _threads_last_words(args: threading.ExceptHookArgs) -> None:
    if args.exc_type is not SystemExit:  # a thread's way to end, as in Python's own hook
        _last_words(args.exc_type, args.exc_value, args.exc_traceback)
