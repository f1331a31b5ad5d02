"""`ops.py replay` and `ops.py rebuild`. What people wrote is never printed: lengths stand for texts."""

import sys
from collections import Counter
from datetime import datetime
from typing import Any

import click

from core import veil
from core.selection import STATES, Repaired, Selection
from scripts.opened import opened

NOT_DONE = 1
ACTOR = "operator"


class Moment(click.ParamType[datetime]):
    """ISO 8601; UTC where it names no zone."""

    name = "iso"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            self.fail("a moment like 2026-11-22T03:16:13Z", param, ctx)


@click.command()
@click.option("--id", "ids", type=int, multiple=True, help="A delivery's id; may be given again and again.")
@click.option("--instance")
@click.option("--event", help="Its name, as in messages.upsert.")
@click.option("--state", type=click.Choice(STATES))
@click.option("--reason")
@click.option("--since", type=Moment(), help="Received then or later.")
@click.option("--until", type=Moment(), help="Received before.")
@click.option("--dry-run", is_flag=True, help="Change nothing; say what would change.")
def replay(ids: tuple[int, ...], dry_run: bool, **wanted: Any) -> None:
    """Put deliveries back into their lanes: parked, waiting or quarantined ones; with --id, or --instance and a time,
    finished ones too."""
    selection = Selection.of({**wanted, "ids": ids or None})
    if selection.is_empty:
        raise click.UsageError("say which deliveries")
    with opened() as system:
        done = system.repair.try_replay(selection) if dry_run else system.repair.replay(selection, actor=ACTOR)
    report(done, verb="would be replayed" if dry_run else "replayed", listed=dry_run)


@click.command()
@click.option("--instance", required=True)
@click.option("--dry-run", is_flag=True, help="Change nothing.")
@click.option("--diff", is_flag=True, help="List what changes; done in one transaction.")
def rebuild(instance: str, dry_run: bool, diff: bool) -> None:
    """Fold all that is kept of an instance anew, over what is there. Nobody is told."""
    with opened() as system:
        done = system.repair.rebuild(instance, actor=ACTOR, dry_run=dry_run, compare=diff)
    report(done, verb="would be rebuilt" if dry_run else "rebuilt", listed=diff)


def report(done: Repaired, *, verb: str, listed: bool) -> None:
    """Print it; ends with 1 where nothing was done though something was to be, or something failed."""
    for change in done.changes or () if listed else ():
        click.echo(veil.line(change))
    click.echo(f"{done.replayed} {verb}")
    if done.changes is not None:
        tables = Counter(change.table for change in done.changes)
        click.echo("changes: " + (", ".join(f"{table} {count}" for table, count in sorted(tables.items())) or "none"))
    for word, counts in (("refused", done.refused), ("failed", done.failed)):
        for reason, count in sorted(counts.items()):
            click.echo(f"{word}: {reason} {count}", err=True)
    if done.failed or (done.refused and not done.replayed):
        sys.exit(NOT_DONE)
