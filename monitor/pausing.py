"""Leaving an instance alone by a person's wish, and watching it again."""

from dataclasses import dataclass

from core import audit
from core.clock import Clock
from core.db import Transaction
from core.errors import NotFound
from monitor import incidents
from monitor.incidents import Happening, Step, Subject
from monitor.policy.health import Paused, Resumed, Rules
from monitor.policy.judge import judge
from monitor.watching import store
from monitor.watching.watched import Kept


@dataclass(frozen=True, kw_only=True)
class Pausing:
    transaction: Transaction
    clock: Clock

    def pause(self, name: str, by: str) -> None:
        """No checks, alerts or attempts until it is resumed; an open incident ends. Raises NotFound."""
        self._change(name, by, "instance.paused", Paused(at=self.clock.now()))

    def resume(self, name: str, by: str) -> None:
        """Watch it again, from the next step on. Raises NotFound."""
        self._change(name, by, "instance.resumed", Resumed(at=self.clock.now()))

    def _change(self, name: str, by: str, action: str, command: Paused | Resumed) -> None:
        if "\0" in name:  # no instance's, and PostgreSQL cannot say it
            raise NotFound("There is no such instance under watch", code="INSTANCE_NOT_FOUND")
        with self.transaction() as connection:
            one = store.lock(connection, name, command.at)
            health = judge(one.health, command, Rules()).health
            step = Step(at=command.at, kind="person", code=action.removeprefix("instance."), facts={"by": by})
            if one.incident_id is not None:
                happening = Happening(
                    subject=Subject(gateway=one.gateway, instance_id=one.id, instance_name=one.name),
                    incident_id=one.incident_id,
                    at=command.at,
                    steps=(step,),
                    closes=not health.incident,
                )
                incidents.write(connection, [happening])
            kept = Kept(
                id=one.id,
                health=health,
                rhythm=one.rhythm,
                due_at=command.at,
                noticed_at=one.noticed_at,
                incident_id=one.incident_id if health.incident else None,
            )
            store.save(connection, [kept])
            audit.note(connection, actor=by, action=action, subject=name)
