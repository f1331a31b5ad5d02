"""What a message says about its surroundings: what it answers, whom it names, whether it is forwarded or from an ad.

`contextInfo` stands in the content (always in 1.8) or beside it in `data` (2.x, which rewrites texts). Called by
`messages`. Pure.
"""

from collections.abc import Mapping
from typing import Any

from manager.providers.evolution.content import known
from manager.providers.evolution.jids import jid
from manager.providers.evolution.kinds import Opened
from manager.providers.evolution.values import count, identifier, items, mapping, said

OFTEN = 5  # WhatsApp itself says "forwarded many times" from here on


def context_of(opened: Opened, data: Mapping[str, Any]) -> dict[str, Any]:
    """`{"stanzaId","participant","quotedMessage","mentionedJid":[…],"isForwarded","externalAdReply":{…},"expiration"}`;
    the content's own counts more.
    """
    inner = mapping(mapping(opened.body).get("contextInfo"))
    return {**mapping(data.get("contextInfo")), **{key: value for key, value in inner.items() if value is not None}}


def quoted_id(context: Mapping[str, Any]) -> str | None:
    """The id of the message that this one answers."""
    return identifier(context.get("stanzaId")) or None


def context_details(context: Mapping[str, Any]) -> dict[str, Any]:
    """The details that any kind may have."""
    score = count(context.get("forwardingScore")) or 0
    return known(
        mentions=[name for one in items(context.get("mentionedJid")) if (name := jid(one))],
        forwarded=context.get("isForwarded") is True,
        forwardingScore=score if score >= OFTEN else None,
        ad=_ad(mapping(context.get("externalAdReply"))),
        expirationSeconds=count(context.get("expiration")) or None,
    )


def _ad(reply: Mapping[str, Any]) -> dict[str, Any]:
    """The advertisement that brought somebody to write (click to WhatsApp)."""
    return known(**{key: said(reply.get(key)) for key in ("title", "body", "sourceUrl", "sourceId", "sourceType")})
