"""Evolution's versions, as one table of what is different from 2.3.6. Nothing else knows a version's number.

2.3.6 is recorded; the others are read from their source and from reports (`contracts/evolution.md`).
"""

from dataclasses import dataclass
from typing import Literal

from sandbox.retry import CONSTANT, CURRENT, Policy

# fmt: off
EVENTS = (
    "APPLICATION_STARTUP", "QRCODE_UPDATED", "MESSAGES_SET", "MESSAGES_UPSERT", "MESSAGES_EDITED",
    "MESSAGES_UPDATE", "MESSAGES_DELETE", "SEND_MESSAGE", "SEND_MESSAGE_UPDATE", "CONTACTS_SET",
    "CONTACTS_UPSERT", "CONTACTS_UPDATE", "PRESENCE_UPDATE", "CHATS_SET", "CHATS_UPSERT",
    "CHATS_UPDATE", "CHATS_DELETE", "GROUPS_UPSERT", "GROUP_UPDATE", "GROUP_PARTICIPANTS_UPDATE",
    "CONNECTION_UPDATE", "LABELS_EDIT", "LABELS_ASSOCIATION", "CALL", "TYPEBOT_START",
    "TYPEBOT_CHANGE_STATUS", "REMOVE_INSTANCE", "LOGOUT_INSTANCE", "INSTANCE_CREATE",
    "INSTANCE_DELETE", "STATUS_INSTANCE",
)
# fmt: on
_SINCE_2_3 = frozenset({"SEND_MESSAGE_UPDATE", "INSTANCE_CREATE", "INSTANCE_DELETE", "STATUS_INSTANCE"})


@dataclass(frozen=True, kw_only=True)
class Profile:
    """The defaults are 2.3.6."""

    version: str = "2.3.6"

    # Subscribing and posting.
    events: tuple[str, ...] = EVENTS
    checks_url: bool = False  # /webhook/set refuses what is no url
    signs: bool = True  # the header jwt_key becomes a token
    user_agent: str = "axios/1.12.2"
    instance_headers: bool = False  # X-Instance-ID, X-Instance-Name, X-Event-Type, X-Timestamp
    retry: Policy = CURRENT
    transports: tuple[str, ...] = ("websocket", "rabbitmq", "nats", "sqs")

    # Messages. How a person known by LID is named, and how Baileys's 64-bit numbers and bytes are written.
    lid: Literal["alone", "sender_pn", "alt", "lost", "swapped"] = "alt"
    bare_keys: bool = False  # no participant and no addressingMode outside of groups
    longs: Literal["text", "number", "halves"] = "halves"
    binary: Literal["base64", "map"] = "map"
    drops_repeats: bool = True  # an id that was seen is not told again
    tells_revokes_as_edits: bool = True
    edit_blocks: Literal["nothing", "messages", "everything"] = "messages"

    # Connections.
    permanent: frozenset[int] = frozenset({401, 402, 403, 406})  # closes that end the session
    after_logout: Literal["fine", "deaf", "stuck"] = "deaf"
    logout: Literal["told", "awaited", "idempotent"] = "told"
    tells_logout: bool = True  # the three events of a close, when the API asked for it
    refuses_to_delete_dead: bool = False
    boots_all: bool = True  # unpaired and closed instances connect at start too
    needs_licence: bool = False
    trims_names: bool = False


PROFILES = {
    "2.2.3": Profile(
        version="2.2.3",
        events=tuple(event for event in EVENTS if event not in _SINCE_2_3),
        checks_url=True,
        signs=False,
        user_agent="axios/1.7.9",
        retry=CONSTANT,
        transports=("websocket", "rabbitmq", "sqs"),
        lid="alone",
        bare_keys=True,
        longs="text",
        binary="base64",
        drops_repeats=False,
        tells_revokes_as_edits=False,
        edit_blocks="nothing",
        after_logout="fine",
    ),
    "2.3.0": Profile(
        version="2.3.0",
        lid="sender_pn",
        bare_keys=True,
        longs="text",
        binary="base64",
        tells_revokes_as_edits=False,
        edit_blocks="nothing",
        after_logout="fine",
    ),
    "2.3.6": Profile(),
    "2.3.7": Profile(
        version="2.3.7",
        lid="lost",
        drops_repeats=False,
        edit_blocks="everything",
        after_logout="fine",
        logout="awaited",
        refuses_to_delete_dead=True,
        boots_all=False,
    ),
    "2.4": Profile(
        version="2.4.0-rc2",
        events=(*EVENTS, "MESSAGING_HISTORY_SET"),
        user_agent="EvolutionAPI-Webhook/2.3.7",
        instance_headers=True,
        lid="swapped",
        drops_repeats=False,
        edit_blocks="everything",
        permanent=frozenset({401, 402, 403, 406, 408}),
        after_logout="stuck",
        logout="idempotent",
        tells_logout=False,
        boots_all=False,
        needs_licence=True,
        trims_names=True,
    ),
}


def get_profile(name: str) -> Profile:
    """Raises ValueError with the names there are."""
    if name not in PROFILES:
        raise ValueError(f'there is no profile "{name}", only {", ".join(PROFILES)}')
    return PROFILES[name]
