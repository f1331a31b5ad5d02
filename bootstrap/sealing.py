"""What is sealed at rest, for `ops.py reseal`."""

from typing import Any

from sqlalchemy import Column

from bootstrap.system import System
from core.db import Base
from core.resealing import Resealed, reseal

SEALED = (
    ("webhook_keys", "sealed"),
    ("alert_targets", "sealed"),
    ("system_configuration", "whatsapp_evolution_api_key"),
)


def sealed_columns() -> list[Column[Any]]:
    return [Base.metadata.tables[table].columns[column] for table, column in SEALED]


def reseal_all(system: System) -> Resealed:
    """Everything, with the first of APP_ENCRYPTION_KEY. Twice is safe. Raises StorageUnavailable."""
    return reseal(system.transaction, system.vault, sealed_columns())
