"""What others may ask of conversations. Each method opens its own transaction."""

from dataclasses import dataclass
from uuid import UUID

from conversations import store
from conversations.store import Page, Position
from core.db import Transaction


@dataclass(frozen=True)
class Conversations:
    transaction: Transaction

    def find_messages(self, user_id: UUID, *, words: str, limit: int, after: Position | None) -> Page:
        """A user's messages that contain `words`, newest first, `limit` of them beyond `after`."""
        with self.transaction() as connection:
            return store.find_messages(connection, user_id, words=words, limit=limit, after=after)
