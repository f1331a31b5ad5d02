"""What the docs promise is there."""

import re
from pathlib import Path

import click

from core.settings import Settings
from scripts.ops import cli

ROOT = Path(__file__).resolve().parents[2]


def test_every_setting_stands_in_operations_md() -> None:
    page = (ROOT / "docs/operations.md").read_text()
    missing = [name.upper() for name in Settings.model_fields if f"`{name.upper()}`" not in page]
    assert not missing


def test_every_command_stands_in_operations_md() -> None:
    page = (ROOT / "docs/operations.md").read_text()
    context = click.Context(cli)
    commands = {name: cli.get_command(context, name) for name in cli.list_commands(context)}
    shown = [name for name, command in commands.items() if command and not command.hidden]
    assert [name for name in shown if f"ops.py {name}" not in page] == []


def test_every_link_of_the_docs_leads_somewhere() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    links = [(page, link) for page in pages for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())]
    assert [(page.name, link) for page, link in links if not (page.parent / link).exists()] == []
