"""What others may ask of conversations. Each method opens its own transaction."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row

from conversations import merging, people, store
from conversations.store import ContactPosition, ConversationPosition, MessagePosition, Page
from core.db import Transaction
from core.errors import LostRace

Whose = tuple[str | None, UUID | None]  # organization, user


@dataclass(frozen=True)
class Conversations:
    transaction: Transaction

    def find_messages(self, user_id: UUID, *, words: str, limit: int, after: MessagePosition | None) -> Page:
        """A user's messages that contain `words`, newest first, `limit` of them beyond `after`."""
        with self.transaction() as connection:
            return store.find_messages(connection, user_id, words=words, limit=limit, after=after)

    def conversation_messages(
        self, user_id: UUID, conversation_id: UUID, *, limit: int, after: MessagePosition | None
    ) -> Page:
        """One conversation of a user, newest first. Raises NotFound."""
        with self.transaction() as connection:
            return store.conversation_messages(connection, user_id, conversation_id, limit=limit, after=after)

    def find_conversations(self, user_id: UUID, *, limit: int, after: ConversationPosition | None) -> Page:
        """A user's conversations, the liveliest first."""
        with self.transaction() as connection:
            return store.find_conversations(connection, user_id, limit=limit, after=after)

    def find_contacts(self, whose: Whose, *, words: str, limit: int, after: ContactPosition | None) -> Page:
        """The contacts of an organization, or of a user without one, by name."""
        with self.transaction() as connection:
            return store.find_contacts(connection, people.scope_of(*whose), words=words, limit=limit, after=after)

    def keep_contact(self, whose: Whose, *, phone: str, name: str | None, at: datetime) -> Row[Any]:
        """Write down somebody of this number, by hand: a name given so stays. Raises LostRace."""
        try:
            return self._keep_contact(whose, phone, name, at)
        except LostRace:  # a message has just brought the same person
            return self._keep_contact(whose, phone, name, at)

    def _keep_contact(self, whose: Whose, phone: str, name: str | None, at: datetime) -> Row[Any]:
        organization, user = whose
        with self.transaction() as connection:
            contact = people.keep_by_hand(
                connection, organization_id=organization, user_id=user, phone=phone, name=name, at=at
            )
            return store.find_contact(connection, contact)

    def split_contact(self, entry_id: int, actor: str) -> UUID:
        """Undo a merge by its audit entry; the contact that is there again. Raises NotFound, Conflict."""
        with self.transaction() as connection:
            return merging.split(connection, entry_id, actor)
