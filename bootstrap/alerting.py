"""The alerts' way out, wired: targets, silences, the outbox, reminders."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

from sqlalchemy import text

from core.clock import Clock
from core.crypto import Vault
from core.db import Transaction
from core.errors import NotFound
from core.settings import Settings
from manager.service import WhatsAppManager
from monitor.alerting.alert_log import AlertLog
from monitor.alerting.channels import Channels
from monitor.alerting.outbox import Outbox
from monitor.alerting.reminders import Reminders
from monitor.alerting.silences import Silences
from monitor.alerting.targets import Targets

DELIVER_EVERY, REMIND_EVERY = timedelta(seconds=1), timedelta(minutes=5)
Job = Callable[[], object]


@dataclass(kw_only=True)
class Alerting:
    """`clock` is the monitor's: what it decided is due by its own time."""

    urls: list[str]
    clock: Clock
    targets: Targets
    silences: Silences
    log: AlertLog
    outbox: Outbox
    reminders: Reminders
    _knows_environment: bool = field(default=False, init=False)

    def deliver(self) -> None:
        """Send what is due. The first time it also takes in ALERT_URLS."""
        if not self._knows_environment:
            self.targets.from_environment(self.urls)
            self._knows_environment = True
        self.outbox.deliver(self.clock.now())

    @property
    def jobs(self) -> dict[str, tuple[timedelta, Job]]:
        return {"alerts": (DELIVER_EVERY, self.deliver), "reminders": (REMIND_EVERY, self.reminders.tell)}


def make_alerting(
    settings: Settings,
    transaction: Transaction,
    vault: Vault,
    manager: WhatsAppManager,
    clock: Clock,
    monitor_clock: Clock,
    *,
    rung: Callable[[list[str]], None],
) -> Alerting:
    def whatsapp(instance: str, number: str, words: str) -> None:
        manager.send_text(owner(transaction, instance), number, words)

    private = settings.alert_allow_private
    every = timedelta(hours=settings.alert_reminder_hours) or None
    return Alerting(
        urls=[url.get_secret_value() for url in settings.alert_urls],
        clock=monitor_clock,
        targets=Targets(transaction, vault, Channels(whatsapp, allow_private=private, apart=True)),
        silences=Silences(transaction, clock),
        log=AlertLog(transaction),
        outbox=Outbox(transaction, vault, Channels(whatsapp, allow_private=private).send),
        reminders=Reminders(transaction, monitor_clock, every, rung),
    )


def owner(transaction: Transaction, instance: str) -> UUID:
    """Whose instance it is. Raises NotFound."""
    query = text("SELECT user_id FROM whatsapp_instances WHERE instance_name = :name AND user_id IS NOT NULL")
    with transaction() as connection:
        found: UUID | None = connection.execute(query, {"name": instance}).scalar()
    if found is None:
        raise NotFound("There is no such instance", code="INSTANCE_NOT_FOUND")
    return found
