"""Bring WhatsApp instances of earlier versions into order: check, update, migrate NAME. docs/migration.md tells how.

Exit codes: 0 done or clean, 1 not done or something to mend, 2 wrong usage, 69 database or gateway not there,
75 try later, 78 configuration, 130 Ctrl-C.
"""

import contextlib
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import click  # noqa: E402 — the project's folder must be on the path first

from core.errors import AppError, Malformed, NotNow  # noqa: E402
from core.postgres import PostgresUnusable  # noqa: E402
from core.secrets import ConfigError  # noqa: E402
from core.settings import Settings, misspelt  # noqa: E402
from scripts.opened import Opened  # noqa: E402

if TYPE_CHECKING:
    from click._termui_impl import ProgressBar

    from bootstrap.system import System

NOT_DONE, USAGE, UNAVAILABLE, LATER, CONFIGURATION, INTERRUPTED = 1, 2, 69, 75, 78, 130
LINES_EVERY = 10_000
Command = TypeVar("Command", bound=Callable[..., Any])


class Name(click.ParamType[str]):
    """An instance's name: any text there can be in the database."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            str(value).encode()
        except UnicodeEncodeError:
            self.fail("is no UTF-8 text", param, ctx)
        return str(value) or self.fail("is empty", param, ctx)


class Bar:
    """Progress on standard error: a bar on a terminal, else a line now and then."""

    def __init__(self) -> None:
        self._bar: ProgressBar[int] | None = None
        self._what, self._total, self._done, self._told = "", 0, 0, 0

    def begin(self, what: str, total: int) -> None:
        self.end()
        self._what, self._total, self._done, self._told = what, total, 0, 0
        if total and sys.stderr.isatty():
            self._bar = click.progressbar(length=total, label=f"{what:10}", file=sys.stderr)
            self._bar.render_progress()

    def step(self, count: int) -> None:
        self._done += count
        if self._bar:
            self._bar.update(count)
        elif self._done - self._told >= LINES_EVERY or (self._done >= self._total > self._told):
            self._told = self._done
            click.echo(f"{self._what}: {self._done} of {self._total}", err=True)

    def end(self) -> None:
        if self._bar:
            self._bar.render_finish()
            self._bar = None


def options(*, writes: bool) -> Callable[[Command], Command]:
    """The options of a command, in the order of its help."""
    found = [
        click.option("--json", "as_json", is_flag=True, help="One JSON object on standard output."),
        click.option("--map", "table", type=click.File(encoding="utf-8"), help="CSV: old name,user id."),
        click.option(
            "--batch", type=click.IntRange(1, 10_000), default=1000, show_default=True, help="Rows a transaction."
        ),
    ]
    if writes:
        found.append(click.option("--dry-run", is_flag=True, help="Change nothing; say what would change."))
        found.append(click.option("--yes", is_flag=True, help="Do not ask."))

    def add(command: Command) -> Command:
        for option in reversed(found):
            command = option(command)
        return command

    return add


@click.group()
def cli() -> None:
    """Instances of earlier versions: rows without a user, old names, gateway instances without a row."""


@cli.command()
@options(writes=False)
def check(**chosen: Any) -> None:
    """Say what is not as it should be. Changes nothing."""
    with ready() as system:
        _tell(system, "check", chosen, write=False)


@cli.command()
@options(writes=True)
def update(*, yes: bool, dry_run: bool, **chosen: Any) -> None:
    """Mend all of it. Safe to break off and to run again."""
    asks = not yes and not dry_run
    if asks and not sys.stdin.isatty():
        _fail("update changes rows: say --yes where there is no terminal to ask", USAGE)
    with ready() as system:
        if asks and not _agreed(system, chosen):
            _fail("nothing was changed", NOT_DONE)
        _tell(system, "update", chosen, write=not dry_run)


@cli.command()
@click.argument("name", type=Name())
@options(writes=True)
def migrate(name: str, *, dry_run: bool, yes: bool, **chosen: Any) -> None:  # noqa: ARG001 — one row is never asked for
    """Mend one instance, by its old or its new name."""
    with ready() as system:
        _tell(system, "migrate", chosen, write=not dry_run, name=name)


@contextlib.contextmanager
def ready() -> "Iterator[System]":
    """The product's parts on a database that has this version's structure."""
    from core import migrate as structure

    settings = Settings.from_env()
    with Opened(settings) as system:
        is_at, wanted = structure.current(system.engine), structure.newest()
        if is_at is None and settings.database_url is None:
            structure.upgrade(system.engine)  # our own folder's database, made this minute
        elif is_at != wanted:
            is_at = is_at or "nothing"
            _fail(f"the schema is at {is_at}, this version wants {wanted}: ops.py db upgrade", CONFIGURATION)
        system.bell.start()
        try:
            yield system
        finally:
            system.bell.stop()


def _agreed(system: "System", chosen: dict[str, Any]) -> bool:
    """Show what would be done, and ask; nothing is asked where nothing is to be done."""
    run, bar = _run(system, "update", chosen, write=False)
    report = run.all()
    bar.end()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    found = report.as_dict()
    if report.interrupted:
        raise KeyboardInterrupt
    if not found["mendable"]:
        return True
    for line in report.lines():
        click.echo(line, err=True)
    return click.confirm(f"Change these {found['mendable']}?", err=True)


def _tell(system: "System", command: str, chosen: dict[str, Any], *, write: bool, name: str | None = None) -> NoReturn:
    """Run it, print the report whatever happens, and end with its exit code."""
    run, bar = _run(system, command, chosen, write=write)
    failure: AppError | None = None
    try:
        report = run.all() if name is None else run.one(name)
    except AppError as error:
        report, failure = run.report, error
    except KeyboardInterrupt:
        report = run.report
        report.interrupted = True
    bar.end()
    found = report.as_dict()
    if failure is not None:
        found |= {"exit_code": _code_of(failure), "error": failure.message}
    if chosen["as_json"]:
        click.echo(json.dumps(found, ensure_ascii=False))
    elif failure is None or failure.retryable:
        for line in report.lines():
            click.echo(line)
    if failure is not None:
        click.echo(failure.message, err=True)
    sys.exit(found["exit_code"])


def _run(system: "System", command: str, chosen: dict[str, Any], *, write: bool) -> tuple[Any, Bar]:
    """A run that ends after its step at the first Ctrl-C, and at once at the second."""
    from bootstrap.system import adoption

    bar, stop = Bar(), threading.Event()

    def interrupted(*_: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        click.echo("ending after this step; Ctrl-C again ends at once", err=True)

    try:
        table = chosen["table"].read() if chosen["table"] else ""
        chosen["table"] = _Again(table) if table else None
        run = adoption(system).run(
            command, write=write, progress=bar, stop=stop.is_set, table=table, batch=chosen["batch"]
        )
    except UnicodeDecodeError:
        _fail("--map: is no UTF-8 text", USAGE)
    except Malformed as error:
        _fail(f"--map: {error.message}", USAGE)
    signal.signal(signal.SIGINT, interrupted)
    return run, bar


class _Again:
    """The table's text, to be read once more."""

    def __init__(self, content: str) -> None:
        self._content = content

    def read(self) -> str:
        return self._content


def _code_of(error: AppError) -> int:
    if isinstance(error, NotNow):
        return LATER
    return UNAVAILABLE if error.retryable else NOT_DONE


def _fail(text: str, code: int) -> NoReturn:
    click.echo(text, err=True)
    sys.exit(code)


def main() -> None:
    try:
        cli.main(standalone_mode=False)
    except click.Abort:
        _fail("interrupted", INTERRUPTED)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except ConfigError as error:
        _fail("\n".join([str(error), *misspelt(os.environ)]), CONFIGURATION)
    except PostgresUnusable as error:
        _fail(str(error), UNAVAILABLE)
    except AppError as error:
        _fail(error.message, _code_of(error))
    except KeyboardInterrupt:
        _fail("interrupted", INTERRUPTED)


if __name__ == "__main__":
    main()
