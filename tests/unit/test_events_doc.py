"""docs/events.md and the code say the same."""

import re
from pathlib import Path

import pytest

from conversations.lattice import STATUSES
from manager.providers.evolution import connections, contacts, events, groups, messages, updates
from manager.providers.evolution.calls import calls
from manager.providers.evolution.content import KINDS
from manager.providers.evolution.events import READERS

ROOT = Path(__file__).resolve().parent.parent.parent
DOC = (ROOT / "docs" / "events.md").read_text(encoding="utf-8")
HOMES = {"connections": connections, "contacts": contacts, "events": events, "groups": groups, "messages": messages,
         "updates": updates}  # fmt: skip


def rows():
    """Events, reader and file of each line of the first table."""
    table = DOC.split("## What a message sets off")[0]
    for line in table.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("| `"):
            yield re.findall(r"`([^`]+)`", cells[0]), cells[2].strip("`"), re.findall(r"`([^`]+)`", cells[3])


def test_every_event_stands_in_the_table_once():
    named = [event for events_, _, _ in rows() for event in events_]
    assert sorted(named) == sorted(READERS)


@pytest.mark.parametrize(("named", "reader"), [(named, reader) for named, reader, _ in rows()])
def test_the_table_names_the_reader(named, reader):
    module, _, function = reader.partition(".")
    expected = calls if module == "calls" else getattr(HOMES[module], function)
    assert {READERS[event] for event in named} == {expected}


def test_the_table_names_files_that_are_there():
    found = {name for _, _, files in rows() for name in files}
    folders = ("conversations", "manager")
    assert [name for name in found if not any((ROOT / folder / Path(name).name).is_file() for folder in folders)] == []


def test_every_kind_and_status_is_named():
    assert [kind for kind in KINDS if f"`{kind}`" not in DOC] == []
    assert ", ".join(f"`{status}`" for status in STATUSES) in DOC


def test_every_code_of_what_is_odd_is_named():
    """Issue codes and codes of refusal, as the modules spell them."""
    sources = [*(ROOT / "manager" / "providers" / "evolution").glob("*.py"), ROOT / "webhooks" / "envelope.py"]
    text = "\n".join(path.read_text() for path in sources if path.stem != "client")
    codes = set(re.findall(r'odd\("([a-z_]+)"', text)) | set(re.findall(r'code="([a-z_]+)"', text.lower()))
    assert len(codes) > 15
    assert [code for code in codes if f"`{code}`" not in DOC] == []
