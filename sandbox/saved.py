"""The state file: the key, the instances and their phones, in `sandbox.json` (mode 600, replaced
atomically)."""

import json
import os
import tempfile
from collections import deque
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sandbox.state import MESSAGES_KEPT, Instance, Message, Webhook

FILE = "sandbox.json"


class StateFile:
    """`{"key": "…", "instances": [row, …]}`. Without a folder nothing is read or written."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self.key: str | None = None
        self.instances: list[Instance] = []
        if folder is not None and (folder / FILE).exists():
            self._load(folder / FILE)

    def save(self, instances: list[Instance]) -> None:
        self.instances = instances
        if self._folder is not None:
            rows = [_row(instance) for instance in instances]
            _replace(self._folder, json.dumps({"key": self.key, "instances": rows}, ensure_ascii=False))

    def _load(self, path: Path) -> None:
        content = json.loads(path.read_text(encoding="utf-8"))
        self.key = content["key"]
        self.instances = [_instance(row) for row in content["instances"]]


def _row(instance: Instance) -> dict[str, Any]:
    """Everything but what lives in memory."""
    row = {name: value for name, value in vars(instance).items() if name != "live"}
    row["webhook"] = asdict(instance.webhook) if instance.webhook else None
    row["messages"] = [vars(message) for message in instance.messages]
    return row


def _instance(row: dict[str, Any]) -> Instance:
    webhook, messages = row.pop("webhook"), (Message(**one) for one in row.pop("messages", []))
    kept = deque(messages, maxlen=MESSAGES_KEPT)
    return Instance(**row, webhook=Webhook(**webhook) if webhook else None, messages=kept)


def _replace(folder: Path, text: str) -> None:
    """A reader, or a process that dies in between, sees the old file or the new one."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle, name = tempfile.mkstemp(dir=folder, prefix=FILE)  # created with mode 600
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    Path(name).replace(folder / FILE)
