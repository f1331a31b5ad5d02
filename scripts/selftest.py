"""`ops.py selftest`: the whole way once, with an instance of its own that is gone afterwards (J004, J005).

Needs the product running, and looks first whether it is. Then an instance is made on the gateway, its webhook is looked
at, an event is posted to our own entrance and must stand in the database a moment later.
"""

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import click
import requests
from sqlalchemy import text

from core import migrate
from core.errors import AppError, NotOffered
from scripts.opened import opened

if TYPE_CHECKING:
    from bootstrap.system import System

WAIT_S = 10.0
LOOK_EVERY_S = 0.2
SEED_INDEXES = {"idx_whatsapp_instances_user_id", "idx_whatsapp_instances_user_unique"}
INDEXES = text("SELECT indexname FROM pg_indexes WHERE tablename = 'whatsapp_instances'")
ARRIVED = text("SELECT content FROM messages WHERE whatsapp_message_id = :number")
FORGET = text("DELETE FROM profiles WHERE id = :user")
DELIVERIES = text("DELETE FROM webhook_events WHERE instance = :name")


class Failed(AppError):
    """A step did not do what it should."""


class Trial:
    """One run: `user` is made for it, and nothing of theirs is left."""

    def __init__(self, system: "System") -> None:
        self.system, self.user, self.number = system, uuid4(), f"SELFTEST{uuid4().hex[:12].upper()}"
        self.token = ""  # of the trial's webhook, once it is made

    def schema(self) -> str:
        if migrate.current(self.system.engine) != migrate.newest():
            raise Failed("the structure is not this version's: ops.py db upgrade")
        with self.system.transaction() as connection:
            missing = SEED_INDEXES - set(connection.execute(INDEXES).scalars())
        if missing:
            raise Failed(f"missing: {', '.join(sorted(missing))}")
        return "user_id and its indexes are there"

    def gateway(self) -> str:
        upstream = self.system.servers.gateways.for_new()
        upstream.provider.ping()
        return f"{upstream.name} answers, and takes our key"

    def creation(self) -> str:
        with self.system.transaction() as connection:
            connection.execute(text("INSERT INTO profiles (id, name) VALUES (:user, 'selftest')"), {"user": self.user})
        record = self.system.manager.ensure_user_instance(self.user)
        upstream = self.system.servers.gateways.for_new()
        self.token = upstream.hook_of(record).token
        try:
            found = upstream.provider.hook(record.gateway_name)
        except NotOffered:
            return f"{record.name} was made; where its webhook points {upstream.name} does not say"
        if found is None or not found.enabled:
            raise Failed("the instance was made, and its webhook does not point anywhere")
        self.token = found.token or ""
        return f"{record.name} was made, its webhook points to {found.url}"

    def webhook(self) -> str:
        name = f"user_{self.user}"
        credential = {"X-Webhook-Token": self.token}
        answer = requests.post(self._entrance(), json=self._message(name), headers=credential, timeout=10)
        if answer.status_code != 200:
            raise Failed(f"our entrance answers {answer.status_code}")
        self._arrive()
        return "an event was taken, worked off and stored"

    def health(self) -> str:
        base = f"http://{self.system.settings.host}:{self.system.settings.port}"
        answers = {path: requests.get(base + path, timeout=10).status_code for path in ("/livez", "/readyz", "/health")}
        if set(answers.values()) != {200}:
            raise Failed(f"they answer {answers}")
        if requests.get(base + "/readyz", timeout=10).json()["status"] != "ok":
            raise Failed("the health monitor has stopped")
        return "/livez, /readyz and /health answer 200, the health monitor is at work"

    def clear_away(self) -> None:
        with self.system.transaction() as connection:
            known = connection.execute(
                text("SELECT FROM whatsapp_instances WHERE user_id = :user"), {"user": self.user}
            )
            made = known.first() is not None
        if made:
            self.system.manager.part_user_whatsapp(self.user, "close")
            left = self.system.manager.find_user_instance(self.user)
            if left and not left.gone:
                raise Failed("the gateway is still deleting the trial's instance; the monitor finishes that")
        with self.system.transaction() as connection:
            connection.execute(FORGET, {"user": self.user})
            connection.execute(DELIVERIES, {"name": f"user_{self.user}"})

    def _entrance(self) -> str:
        return f"http://{self.system.settings.host}:{self.system.settings.port}/api/webhook/user/{self.user}"

    def _message(self, name: str) -> dict[str, Any]:
        key = {"remoteJid": "5511999990000@s.whatsapp.net", "fromMe": False, "id": self.number}
        data = {"key": key, "pushName": "Selftest", "message": {"conversation": "selftest"}}
        return {"event": "messages.upsert", "instance": name, "data": {**data, "messageTimestamp": int(time.time())}}

    def _arrive(self) -> None:
        for _ in range(int(WAIT_S / LOOK_EVERY_S)):
            with self.system.transaction() as connection:
                if connection.execute(ARRIVED, {"number": self.number}).scalar() is not None:
                    return
            time.sleep(LOOK_EVERY_S)
        raise Failed(f"the event was taken and not worked off within {int(WAIT_S)} s: is a worker running?")


@click.command()
def selftest() -> None:
    """Try the whole way once: database, gateway, instance, webhook, worker, health. The product must be running."""
    with opened() as system:
        trial = Trial(system)
        steps: dict[str, Callable[[], str]] = {
            "schema": trial.schema,
            "gateway": trial.gateway,
            "health": trial.health,
            "creation": trial.creation,
            "webhook": trial.webhook,
        }
        try:
            passed = all(_done(name, step) for name, step in steps.items())
        finally:
            trial.clear_away()
    sys.exit(0 if passed else 1)


def _done(name: str, step: Callable[[], str]) -> bool:
    try:
        click.echo(f"ok    {name:10}{step()}")
    except AppError as error:
        click.echo(f"fail  {name:10}{error.message}")
        return False
    except requests.RequestException:
        click.echo(f"fail  {name:10}the web role does not answer: is the product running?")
        return False
    return True
