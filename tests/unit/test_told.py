"""What people hear of a message that was not there before."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from conversations import told
from conversations.changes import Known, Rules
from conversations.fold import fold
from manager.lifecycle import InstanceRecord, Standing, Status
from manager.providers.port import MessageReported

HEARD = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
ANA = ("5511999990001@s.whatsapp.net",)


def data_of(**report: Any) -> Any:
    record = InstanceRecord(
        id=uuid4(),
        name="user_x",
        user_id=uuid4(),
        organization_id=None,
        status=Status.CONNECTED,
        standing=Standing(phone="5511900000001"),
        updated_at=None,
    )
    facts: dict[str, Any] = {"delivery_id": 1, "instance": "user_x", "reported_at": None, "received_at": HEARD}
    said = {"message_id": "A1", "chat": ANA, "author": ANA, "from_me": False, "text": "Oi", "kind": "text"}
    said |= {"status": "delivered", "push_name": "Ana", "sent_at": HEARD}
    known = Known(instances={"user_x": record}, owners={"user_x": frozenset()})
    changes = fold(known, [MessageReported(**facts | said | report)], Rules())
    (message,) = changes.messages.values()
    return told.message(message, None).data


def test_a_message_is_told_with_what_the_page_shows() -> None:
    data = data_of()
    assert None not in [data.pop(name) for name in ("instanceId", "conversationId", "contactId")]
    assert data == {
        "instanceName": "user_x",
        "messageId": "A1",
        "contactName": "Ana",
        "from": "5511999990001",
        "fromMe": False,
        "text": "Oi",
        "kind": "text",
        "at": "2026-11-22T12:00:00.000Z",
    }


@pytest.mark.parametrize(
    "report",
    [{"push_name": None}, {"from_me": True, "author": (), "push_name": "Empresa"}],
)
def test_a_name_that_nobody_gave_is_null(report: dict[str, Any]) -> None:
    assert data_of(**report)["contactName"] is None
