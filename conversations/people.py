"""Contacts and their names → rows; and what is known of them. Functions of a connection; the caller's transaction."""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import Connection, text

from conversations.changes import Alias, Changes, ContactSeen, KnownAlias
from conversations.identity import PHONE, SPACE, Sighting, resolve
from core.db import array
from core.errors import LostRace

BY_HAND = datetime(9999, 1, 1, tzinfo=UTC)  # no message is newer: a name that a person gave stays
# A number that another program wrote down by SQL has no alias: whoever has it in `contacts` goes by it.
FIND = text("""
SELECT wanted.scope, wanted.jid, contacts.id AS contact_id, alias.first_seen_at, contacts.pinned,
       (SELECT count(*) FROM contact_aliases AS theirs WHERE theirs.contact_id = contacts.id) AS names,
       wanted.instance, conversations.id AS conversation
FROM unnest(CAST(:scopes AS text[]), CAST(:jids AS text[]), CAST(:instances AS uuid[])) AS wanted (scope, jid, instance)
LEFT JOIN contact_aliases AS alias ON alias.scope = wanted.scope AND alias.jid = wanted.jid
JOIN contacts ON contacts.id = coalesce(alias.contact_id, (
    SELECT written.id FROM contacts AS written
    WHERE written.scope = wanted.scope AND wanted.jid = split_part(wanted.jid, '@', 1) || '@s.whatsapp.net'
      AND written.phone_number = split_part(wanted.jid, '@', 1)))
LEFT JOIN conversations ON conversations.instance_id = wanted.instance AND conversations.contact_id = contacts.id
""")
CONTACTS = text("""
INSERT INTO contacts AS kept (id, scope, organization_id, user_id, phone_number, name, named_at)
SELECT id, scope, organization_id, user_id, phone, coalesce(name, 'Unknown'), named_at
FROM unnest(
    CAST(:ids AS uuid[]), CAST(:scopes AS text[]), CAST(:organizations AS text[]), CAST(:users AS uuid[]),
    CAST(:phones AS text[]), CAST(:names AS text[]), CAST(:named AS timestamptz[])
) AS new (id, scope, organization_id, user_id, phone, name, named_at)
ON CONFLICT (id) DO UPDATE SET name = excluded.name, named_at = excluded.named_at, updated_at = now()
WHERE (excluded.named_at, excluded.name COLLATE "C") > (coalesce(kept.named_at, '-infinity'), kept.name)
""")
ALIASES = text("""
INSERT INTO contact_aliases AS kept (scope, jid, contact_id, first_seen_at)
SELECT * FROM unnest(
    CAST(:scopes AS text[]), CAST(:jids AS text[]), CAST(:contacts AS uuid[]), CAST(:seen AS timestamptz[])
)
ON CONFLICT (scope, jid) DO UPDATE SET first_seen_at = least(kept.first_seen_at, excluded.first_seen_at)
RETURNING scope, jid, contact_id
""")
RENUMBER = text("""
UPDATE contacts SET phone_number = newest.phone, updated_at = now()
FROM (
    SELECT DISTINCT ON (contact_id) contact_id, split_part(jid, '@', 1) AS phone
    FROM contact_aliases WHERE contact_id = ANY(CAST(:contacts AS uuid[])) AND jid LIKE '%@s.whatsapp.net'
    ORDER BY contact_id, first_seen_at DESC NULLS LAST, jid COLLATE "C" DESC
) AS newest
WHERE contacts.id = newest.contact_id AND contacts.phone_number IS DISTINCT FROM newest.phone
""")

HELD = text("""
SELECT scope, jid, contact_id FROM contact_aliases
JOIN unnest(CAST(:scopes AS text[]), CAST(:jids AS text[])) AS held (scope, jid) USING (scope, jid)
""")


def find(
    connection: Connection, wanted: Collection[tuple[str, str, UUID]]
) -> tuple[dict[Alias, KnownAlias], dict[tuple[UUID, UUID], UUID]]:
    """Who goes by these names (scope, JID, instance), and the conversations of each instance with them."""
    ordered = sorted(set(wanted))
    columns = {
        "scopes": array(scope for scope, _, _ in ordered),
        "jids": array(jid for _, jid, _ in ordered),
        "instances": array(instance for _, _, instance in ordered),
    }
    aliases, conversations = {}, {}
    for row in connection.execute(FIND, columns):
        known = KnownAlias(contact=row.contact_id, pinned=row.pinned, first_seen_at=row.first_seen_at, names=row.names)
        aliases[row.scope, row.jid] = known
        if row.conversation:
            conversations[row.instance, row.contact_id] = row.conversation
    return aliases, conversations


def keep(connection: Connection, changes: Changes) -> None:
    """Write contacts and their names. Raises LostRace where one of the names has become another contact's."""
    _contacts(connection, changes)
    _aliases(connection, changes)
    _check(connection, changes)
    if changes.renumbered:
        connection.execute(RENUMBER, {"contacts": array(sorted(changes.renumbered))})


def _check(connection: Connection, changes: Changes) -> None:
    """Are these people still who they were when we read it? Their rows are locked by now: nobody merges or parts
    them before we are done."""
    held = {alias: contact for alias, contact in changes.held.items() if contact in changes.contacts}
    if not held:
        return
    columns = {"scopes": array(scope for scope, _ in held), "jids": array(jid for _, jid in held)}
    now = {(row.scope, row.jid): row.contact_id for row in connection.execute(HELD, columns)}
    if now != held:
        raise LostRace("Somebody else has just merged or parted these contacts")


def _contacts(connection: Connection, changes: Changes) -> None:
    contacts = [contact for _, contact in sorted(changes.contacts.items())]
    if not contacts:
        return
    columns = {
        "ids": array(contact.id for contact in contacts),
        "scopes": array(contact.scope for contact in contacts),
        "organizations": array(contact.organization_id for contact in contacts),
        "users": array(contact.user_id for contact in contacts),
        "phones": array(contact.phone for contact in contacts),
        "names": array(contact.name for contact in contacts),
        "named": array(contact.named_at for contact in contacts),
    }
    connection.execute(CONTACTS, columns)


def _aliases(connection: Connection, changes: Changes) -> None:
    aliases = sorted((alias, seen) for alias, seen in changes.aliases.items() if seen.contact in changes.contacts)
    if not aliases:
        return
    columns = {
        "scopes": array(scope for (scope, _), _ in aliases),
        "jids": array(jid for (_, jid), _ in aliases),
        "contacts": array(seen.contact for _, seen in aliases),
        "seen": array(seen.first_seen_at for _, seen in aliases),
    }
    held: Mapping[Alias, UUID] = {(row.scope, row.jid): row.contact_id for row in connection.execute(ALIASES, columns)}
    if any(held[alias] != seen.contact for alias, seen in aliases):
        raise LostRace("Somebody else has just said who goes by one of these names")


def scope_of(organization_id: str | None, user_id: UUID | None) -> str:
    """Whose contacts: the organization's, or the user's where there is none."""
    return organization_id or str(user_id)


def keep_by_hand(
    connection: Connection,
    *,
    organization_id: str | None,
    user_id: UUID | None,
    phone: str,
    name: str | None,
    at: datetime,
) -> UUID:
    """A person wrote this number down. Raises LostRace."""
    scope, jid = scope_of(organization_id, user_id), f"{phone}{PHONE}"
    aliases, _ = find(connection, [(scope, jid, SPACE)])
    people = resolve(aliases, [Sighting(scope=scope, names=(jid,), at=at)])
    contact = people.contact_of[scope, jid]
    seen = ContactSeen(
        id=contact,
        scope=scope,
        organization_id=organization_id,
        user_id=None if organization_id else user_id,
        phone=phone,
        name=name,
        named_at=BY_HAND if name else None,
    )
    keep(connection, Changes(contacts={contact: seen}, aliases=people.aliases))
    return contact
