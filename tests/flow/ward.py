"""A ward for the health monitor: connected instances on the sandbox, time that moves by steps, and what came of it."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID, uuid4

import requests
from sqlalchemy import text

from bootstrap.monitoring import make_monitor
from bootstrap.system import System
from sandbox.server import Sandbox
from tests.clock import FrozenClock
from tests.factories import connection_update, hook_keys
from tests.waiting import until

FILL = text("""
WITH fresh AS (SELECT * FROM unnest(CAST(:users AS uuid[]), CAST(:names AS text[])) AS new (id, name)),
people AS (INSERT INTO profiles (id) SELECT id FROM fresh RETURNING id)
INSERT INTO whatsapp_instances (instance_name, user_id, status, is_connected, state, hooked_at, last_connected_at)
SELECT name, fresh.id, 'connected', true, 'connected', now(), now() FROM fresh JOIN people USING (id)
""")
TOLD = ("alert", "notice", "reconnected", "reconnect_failed")
Rows = Callable[..., list[dict[str, object]]]


class Ward:
    """`check` lets a minute pass and looks; `look` looks some seconds later."""

    def __init__(self, system: System, sandbox: Sandbox, clock: FrozenClock, rows: Rows) -> None:
        self.system, self.sandbox, self.clock, self.rows = system, sandbox, clock, rows
        assert system.monitor.leader.keep()

    def report(self, user: UUID, state: str, **data: object) -> None:
        """A webhook as the gateway would send it now, taken in."""
        name, at = f"user_{user}", datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        url = f"{self.system.settings.own_url}/api/webhook/user/{user}"
        token = {"X-Webhook-Token": hook_keys(self.system, name).token}
        requests.post(
            url, json=connection_update(name, state, at, **data), headers=token, timeout=30
        ).raise_for_status()
        until(lambda: self.system.queue_stats()["pending"], lambda pending: pending == 0)

    def admit(self) -> UUID:
        """A user whose WhatsApp is connected, and known to be."""
        user = uuid4()
        with self.system.transaction() as connection:
            connection.exec_driver_sql("INSERT INTO profiles (id, email) VALUES (%s, %s)", (user, f"{user}@x"))
        self.system.manager.connect_user_whatsapp(user)
        until(lambda: self.code_shown(user))
        self.play("phones/scan", instance=f"user_{user}")
        until(lambda: self.status(user), lambda status: status == "connected")
        return user

    def fill(self, count: int) -> list[str]:
        """So many users with a connected instance each; the names."""
        users = [uuid4() for _ in range(count)]
        names = [f"user_{user}" for user in users]
        with self.system.transaction() as connection:
            connection.execute(FILL, {"users": users, "names": names})
        self.fill_again(names)
        return names

    def fill_again(self, names: list[str]) -> None:
        """On the gateway alone."""
        self.play("phones/fill", names=names)

    def states(self) -> dict[object, object]:
        found = self.rows("SELECT state, count(*) AS n FROM instance_health GROUP BY state")
        return {row["state"]: row["n"] for row in found}

    def fall(self, name: str) -> None:
        self.play(f"instances/{name}/drop", reason=408, silent=True)

    def rise(self, name: str) -> None:
        """By itself, as when the network is back."""
        requests.get(f"{self.sandbox.url}/instance/connect/{name}", headers=self._key, timeout=30).raise_for_status()

    def code_shown(self, user: UUID) -> bool:
        """By the gateway."""
        shown = requests.get(f"{self.sandbox.url}/instance/connect/user_{user}", headers=self._key, timeout=30).json()
        return bool(shown.get("code"))

    def status(self, user: UUID) -> object:
        """Ours."""
        return self.rows("SELECT status FROM whatsapp_instances WHERE user_id = :user", user=user)[0]["status"]

    def state(self, user: UUID) -> str:
        """The gateway's."""
        url = f"{self.sandbox.url}/instance/connectionState/user_{user}"
        found: str = requests.get(url, headers=self._key, timeout=30).json()["instance"]["state"]
        return found

    @property
    def _key(self) -> dict[str, str]:
        return {"apikey": self.sandbox.key}

    def play(self, path: str, **body: object) -> None:
        """A click on the sandbox's page."""
        requests.post(f"{self.sandbox.url}/sandbox/{path}", json=body, timeout=10).raise_for_status()

    def drop(self, user: UUID, reason: int, *, silent: bool = False) -> None:
        self.play(f"instances/user_{user}/drop", reason=reason, silent=silent)

    def mode(self, user: UUID, mode: str) -> None:
        self.play(f"instances/user_{user}/mode", mode=mode)

    def look(self, seconds: float = 0.0) -> None:
        self.clock.advance(seconds=seconds)
        self.system.monitor.leader.keep()
        self.system.monitor.step()
        self.system.monitor.actions.finish()

    def reborn(self) -> None:
        """Another process leads from here on; what the one before knew in memory is gone."""
        old = self.system.monitor
        old.actions.finish()
        old.leader.resign()
        monitor = make_monitor(
            self.system.settings,
            self.system.transaction,
            self.system.manager,
            self.system.servers,
            rung=lambda _: None,
            clock=self.clock,
        )
        self.system = replace(self.system, monitor=monitor)
        assert monitor.leader.keep()

    def check(self, times: int = 1) -> None:
        """Minutes, one after the other."""
        for _ in range(times):
            self.look(60)

    def settle(self, seconds: int) -> None:
        """This long, in the monitor's own steps of five seconds."""
        for _ in range(seconds // 5):
            self.look(5)

    def told(self, user: UUID) -> list[str]:
        """What the user's browser was shown, oldest first: `alert:down`, `reconnected` …"""
        query = "SELECT type, data FROM feed WHERE user_id = :user AND type = ANY(:types) ORDER BY id"
        found = self.rows(query, user=user, types=list(TOLD))
        return [f"{row['type']}:{row['data']['kind']}" for row in found]  # type: ignore[index]  # JSON

    def alerts(self) -> list[object]:
        return [row["kind"] for row in self.rows("SELECT kind FROM alerts ORDER BY id")]

    def attempts(self) -> list[object]:
        return [row["action"] for row in self.rows("SELECT action FROM connection_events ORDER BY id")]

    def asked(self, *words: str) -> list[str]:
        """Requests that the gateway got with one of these words in their path."""
        log = [entry for entry in self.sandbox.log.items() if entry["kind"] == "request"]
        calls = [f"{entry['method']} {entry['path']}" for entry in log]
        return [call for call in calls if any(word in call for word in words)]

    def health(self, user: UUID) -> dict[str, object]:
        query = """SELECT h.state, h.failures, h.memory FROM instance_health h
                   JOIN whatsapp_instances i ON i.id = h.instance_id WHERE i.user_id = :user"""
        return self.rows(query, user=user)[0]
