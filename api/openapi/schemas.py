"""JSON schemas of the declared types, in the words of pydantic."""

import re
from collections.abc import Iterable
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

PLACE = "#/components/schemas/{model}"


class _Plain(GenerateJsonSchema):
    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002 — the field's name says as much
        return False

    def normalize_name(self, name: str) -> str:
        """`Page[Token]` → `TokenPage`"""
        return "".join(reversed(re.findall(r"\w+", name))) if "[" in name else super().normalize_name(name)


class Schemas:
    """Of these types: each as it stands in an operation, and the `parts` that it refers to."""

    def __init__(self, kinds: Iterable[Any], *, closed: bool) -> None:
        """`closed`: objects have the named properties and no others."""
        adapters = [(kind, "serialization", TypeAdapter(kind)) for kind in dict.fromkeys(kinds)]
        found, defined = TypeAdapter.json_schemas(
            adapters,  # type: ignore[arg-type]  # any hashable key will do
            ref_template=PLACE,
            schema_generator=_Plain,
        )
        self._of = {kind: schema for (kind, _), schema in found.items()}
        self.parts: dict[str, Any] = defined.get("$defs", {})
        for part in self.parts.values() if closed else ():
            if "properties" in part:
                part.setdefault("additionalProperties", False)

    def of(self, kind: Any) -> Any:
        return self._of[kind]
