"""Processes that decide alerts and send them, to be killed: `python -m tests.flow.alert_crasher DATABASE_URL KEY`.

One loads everything once and makes a child for each line on standard input: `pid <n>`, then what the child does, a line
a step, and `dead` once it is. A line is written before the step that it names.
"""

import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from uuid import uuid4

import apprise

from core import logs
from core.crypto import Vault
from core.db import Transaction, make_engine, transactions
from monitor.alerting.alerts import Told, record
from monitor.alerting.channels import Channels
from monitor.alerting.outbox import Outbox
from tests.alerting import incident

AT_ONCE = 3


def main() -> None:
    logs.configure("ERROR")  # standard output is for the steps
    apprise.Apprise.instantiate("json://localhost")  # loads it all, once
    for _ in sys.stdin:
        child = os.fork()
        if not child:
            live(sys.argv[1], Vault(sys.argv[2]))
        say("pid", str(child))
        os.waitpid(child, 0)
        say("dead")


def live(url: str, vault: Vault) -> None:
    transaction = transactions(make_engine(url, statement_timeout_ms=10_000))
    outbox = Outbox(transaction, vault, sender(say), patience_s=5)
    while True:
        decide(transaction)
        say("deliver")
        outbox.deliver(datetime.now(UTC))


def decide(transaction: Transaction) -> None:
    say("decide")
    at = datetime.now(UTC)
    with transaction() as connection:
        names = [f"user_{uuid4().hex}" for _ in range(AT_ONCE)]
        record(connection, [down(incident(connection, name, at=at), name, at) for name in names])
        say("commit")
    say("decided")


def down(number: int, name: str, at: datetime) -> Told:
    return Told(
        incident_id=number,
        kind="down",
        facts={},
        at=at,
        gateway="evolution",
        instance_id=None,
        instance_name=name,
        user_id=None,
        organization_id=None,
    )


def sender(say: Callable[..., None]) -> Callable[[str, str, str, str], None]:
    channels = Channels(lambda *_: None, allow_private=True)

    def send(url: str, title: str, body: str, severity: str) -> None:
        say("sending", url, *(word.rstrip(".") for word in body.split() if word.startswith("user_")))
        channels.send(url, title, body, severity)
        say("sent")

    return send


def say(*words: str) -> None:
    os.write(1, (" ".join(words) + "\n").encode())


if __name__ == "__main__":
    main()
