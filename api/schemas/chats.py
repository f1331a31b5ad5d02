"""Conversations, messages and contacts (api.shapes)."""

from typing import Literal

from typing_extensions import TypedDict

from api.schemas.common import Done, Facts, Id, Moment


class Reaction(TypedDict):
    author: str
    emoji: str


class Message(TypedDict):
    """A deleted message keeps its text, flagged. docs/events.md lists the kinds and their details."""

    id: Id
    messageId: str
    conversationId: Id | None
    contactId: Id | None
    contactName: str | None
    phoneNumber: str | None
    instanceName: str
    direction: Literal["inbound", "outbound"]
    fromMe: bool
    text: str | None
    kind: str
    status: str
    at: Moment
    details: Facts | None
    quotedMessageId: str | None
    edited: bool
    deleted: bool
    fromHistory: bool
    reactions: list[Reaction]
    votes: Facts | None


class LastMessage(TypedDict):
    text: str | None
    kind: str | None
    fromMe: bool


class Conversation(TypedDict):
    """`title` is what to show above it."""

    id: Id
    instanceName: str
    contactId: Id | None
    phoneNumber: str | None
    groupJid: str | None
    title: str | None
    lastMessageAt: Moment | None
    lastMessage: LastMessage


class Contact(TypedDict):
    id: Id
    phone_number: str | None
    name: str | None
    organization_id: str | None
    created_at: Moment
    updated_at: Moment


class KeptContact(Done):
    contact: Contact
