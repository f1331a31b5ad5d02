"""Instances by id (api.instance_shapes)."""

from typing import Annotated, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from api.bodies import LONGEST_ORGANIZATION
from api.schemas import whatsapp
from api.schemas.common import Done, Id, Moment, Unread, one_of
from api.schemas.integrations import Count
from manager.lifecycle import Status

METHODS = ("code", "qr")
LONGEST_LABEL = 80  # characters


class NewLabelled(TypedDict):
    """`phone_number` is the owner's; pairing by code asks it where nothing else is said."""

    organization_id: Annotated[str, Field(min_length=1, max_length=LONGEST_ORGANIZATION)]
    instance_name: Annotated[str, Field(min_length=1, max_length=LONGEST_LABEL)]
    phone_number: NotRequired[str | None]


class HowToConnect(TypedDict, total=False):
    """`code` where there is a number, `qr` where there is none."""

    method: Annotated[str, one_of(METHODS)] | None
    phone_number: Unread


class OwnersNumber(TypedDict):
    """What else there is, is not looked at."""

    phone_number: str


class Instance(TypedDict):
    """`instance_name` is what people call it, `phone_number` the owner's."""

    id: Id
    organization_id: str | None
    instance_name: str | None
    provider_instance_name: str
    phone_number: str | None
    connected_phone: str | None
    status: Status
    pairing_method: Literal["code", "qr"]
    created_at: Moment | None
    last_connected_at: Moment | None
    messages_sent_count: Count
    messages_received_count: Count


class OneInstance(Done):
    """How it is now."""

    instance: Instance


class MadeInstance(OneInstance):
    """It is made."""

    instance_id: Id
    status: Status


class InstanceStatus(OneInstance, whatsapp.Shown):
    """`is_running`: the gateway has a session of it. The rest is the code that is on the screen now."""

    is_running: bool


class ConnectingOne(whatsapp.Connecting):
    """How connecting stands."""

    instance_id: Id
    method: Literal["code", "qr"]
