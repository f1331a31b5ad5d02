"""The list of instances and a new one in it (api.integrations)."""

from typing import Annotated, Literal, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from api.paging import Paging
from api.schemas.common import Done, Id, Moment
from manager.lifecycle import Status

LONGEST_NAME = 100  # characters
Count = Annotated[int, Field(ge=0)]


class ListQuery(Paging, total=False):
    agreementId: str
    refresh: Annotated[str, Field(description="`1` or `true`: as their gateways say now")]


class CreateInstance(TypedDict):
    """Another's agreement is for administrators."""

    name: Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)]
    agreementId: NotRequired[str | None]


class ListedInstance(TypedDict):
    """`name` is its label, else its technical name. What only a gateway told has neither `id` nor times."""

    id: Id | None
    name: str
    instanceName: str
    status: Status
    connected: bool
    phoneNumber: str | None
    profileName: str | None
    provider: str
    userId: Id | None
    agreementId: str | None
    createdAt: Moment | None
    lastConnectedAt: Moment | None
    lastUpdate: Moment | None


class Refresh(TypedDict):
    """`live`: how many stand as their gateway says at this moment."""

    requested: bool
    live: Count


class ListMeta(TypedDict):
    """Where the list comes from, and when that said so. `warnings` are for people."""

    storageFallback: bool
    warnings: list[str]
    source: Literal["storage", "memory", "gateway"]
    readAt: Moment
    refresh: Refresh
    next_cursor: str | None


class InstanceList(Done):
    """The instances, and what there is to say about the list."""

    instances: list[ListedInstance]
    meta: ListMeta


class NewInstance(Done):
    """It is made."""

    instance: ListedInstance
