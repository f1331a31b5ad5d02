"""Database URLs, in the two spellings that are wanted. No library: every process reads its settings with it."""

from urllib.parse import urlsplit

SCHEMES = ("postgres", "postgresql", "postgresql+psycopg")
DIALECT = "postgresql+psycopg://"


def normalized_url(url: str) -> str:
    """A libpq URL (`postgres://…`, `postgresql://…?host=/socket/dir`) as SQLAlchemy wants it. Raises ValueError."""
    scheme, separator, rest = url.partition("://")
    if scheme not in SCHEMES or not separator:
        raise ValueError("must be a PostgreSQL URL (postgresql://…)")
    parts = urlsplit(f"//{rest}")
    if parts.netloc.count("@") > 1:
        raise ValueError("has an @ in its user or password: write it as %40")
    try:
        _ = parts.port
    except ValueError:
        raise ValueError("has a port that is none") from None
    return DIALECT + rest


def libpq_url(url: str) -> str:
    """The same URL for psycopg itself."""
    return url.replace(DIALECT, "postgresql://", 1)
