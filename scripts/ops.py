"""Everything an operator does from a shell. `python scripts/ops.py --help` lists it.

Exit codes: 0 done, 1 not done, 2 wrong usage, 69 something it needs is not there, 75 try later, 78 configuration.
"""

import json
import os
import sys
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import click  # noqa: E402 — the project's folder must be on the path first

from core.errors import AppError  # noqa: E402
from core.postgres import PostgresUnusable  # noqa: E402
from core.secrets import ConfigError  # noqa: E402
from core.settings import Settings, misspelt  # noqa: E402
from scripts.opened import opened  # noqa: E402

if TYPE_CHECKING:
    from bootstrap.system import System

UNAVAILABLE, CONFIGURATION = 69, 78
DEMO = {"demo": "user", "admin": "admin"}
ROLES = ("web", "worker", "monitor")


ELSEWHERE = {
    "doctor": "doctor",
    "selftest": "selftest",
    "replay": "repairs",
    "rebuild": "repairs",
    "reset": "instances",
    "rotate": "instances",
    "reseal": "sealing",
}


class Commands(click.Group):
    """Some are in modules of their own, imported when they are asked for: the supervisor, which is one of the others,
    runs as long as the product, and without SQLAlchemy it is half as large."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *ELSEWHERE])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in ELSEWHERE:
            return super().get_command(ctx, cmd_name)
        found: click.Command = getattr(import_module(f"scripts.{ELSEWHERE[cmd_name]}"), cmd_name)
        return found


@click.group(cls=Commands)
def cli() -> None:
    """Zelador: keeps every user's WhatsApp connected."""


@cli.command()
@click.option("--roles", default=",".join(ROLES), show_default=True, help="Comma list of the roles to run.")
def serve(roles: str) -> None:
    """Run the product: database, migrations, and one process for each role."""
    from scripts.supervisor import Supervisor

    wanted = tuple(role.strip() for role in roles.split(",") if role.strip())
    if not wanted or set(wanted) - set(ROLES):
        raise click.BadParameter(f"roles are {', '.join(ROLES)}")
    sys.exit(Supervisor(Settings.from_env(), wanted).run())


@cli.command()
def worker() -> None:
    """Run one worker: it turns webhooks into knowledge."""
    _run_role("worker")


@cli.command()
def monitor() -> None:
    """Run the monitor."""
    _run_role("monitor")


@cli.group()
def db() -> None:
    """The database's structure."""


@db.command("upgrade")
def db_upgrade() -> None:
    """Bring the database up to this version."""
    from core import migrate

    with opened() as system:
        migrate.upgrade(system.engine)
        click.echo(migrate.current(system.engine))


@db.command("current")
def db_current() -> None:
    """Say where the database stands."""
    from core import migrate

    with opened() as system:
        click.echo(f"{migrate.current(system.engine) or 'empty'} (this version wants {migrate.newest()})")


@cli.command()
@click.option("--sub", required=True, help="The user's UUID.")
@click.option("--role", type=click.Choice(["user", "admin"]), default="user", show_default=True)
@click.option("--email")
@click.option("--org", help="The organization's id.")
@click.option("--hours", type=click.IntRange(1, 24 * 366), default=24, show_default=True, help="How long it is valid.")
def token(sub: str, role: str, email: str | None, org: str | None, hours: int) -> None:
    """Print a bearer token for the API."""
    from core.access import Principal, user_uuid
    from core.bearers import Tokens
    from core.clock import SystemClock

    settings = Settings.from_env()
    secret = settings.auth_jwt_secret.get_secret_value() if settings.auth_jwt_secret else None
    tokens = Tokens(secret, settings.auth_jwt_audience, SystemClock())
    principal = Principal(user_id=user_uuid(sub), role=role, email=email, organization_id=org)
    click.echo(tokens.issue(principal, valid_for=timedelta(hours=hours)))


@cli.command("create-user")
@click.option("--email", required=True)
@click.option("--password", help="Without one, only the printed link logs in.")
@click.option("--role", type=click.Choice(["user", "admin"]), default="user", show_default=True)
@click.option("--name")
def create_user(email: str, password: str | None, role: str, name: str | None) -> None:
    """Make somebody who can log in; prints their id and a link that works once, for a day."""
    from core.access import create_person, make_link

    with opened() as system, system.transaction() as connection:
        user_id = create_person(connection, email=email, password=password, role=role, name=name)
        link = make_link(connection, user_id, valid_for=timedelta(days=1))
        click.echo(f"{user_id}\n{system.settings.webhook_base}/login/{link}")


@cli.command("check-config")
def check_config() -> None:
    """Say whether the environment is good to start with."""
    Settings.from_env()
    for hint in misspelt(os.environ):
        click.echo(hint, err=True)
    click.echo("ok")


@cli.command(hidden=True)
def prepare() -> None:
    """What `serve` needs done before the roles start: migrations, and the demo's people outside production."""
    from core import migrate

    with opened() as system:
        migrate.upgrade(system.engine)
        links = {} if system.settings.is_production else {name: _demo_link(system, name) for name in DEMO}
    click.echo(json.dumps(links))


def _demo_link(system: "System", name: str) -> str:
    """A link of the demo's user or admin; good until the next start, so that a second click works too."""
    from sqlalchemy import text

    from core.access import create_person, make_link

    email = f"{name}@zelador.example"
    find = text("SELECT id FROM profiles WHERE email = :email AND password_hash IS NOT NULL")
    with system.transaction() as connection:
        known = connection.execute(find, {"email": email}).scalar()
        user_id = known or create_person(connection, email=email, role=DEMO[name], name=name.capitalize())
        connection.execute(text("DELETE FROM login_links WHERE user_id = :id AND NOT once"), {"id": user_id})
        return make_link(connection, user_id, once=False, valid_for=timedelta(days=30))


def _run_role(role: str) -> None:
    """A role's process: until SIGTERM, Ctrl-C, or the end of the supervisor."""
    from core.logs import configure
    from scripts.supervisor import on_end

    with opened() as system:
        configure(system.settings.log_level, system.settings.log_file)
        on_end(system.end)
        system.start(role)
        if role == "worker":
            system.work_until_stopped()
        system.stopping.wait()
        system.stop()


def _fail(text: str, code: int) -> NoReturn:
    click.echo(text, err=True)
    sys.exit(code)


def main() -> None:
    try:
        cli()
    except ConfigError as error:
        _fail("\n".join([str(error), *misspelt(os.environ)]), CONFIGURATION)
    except PostgresUnusable as error:
        _fail(str(error), UNAVAILABLE)
    except AppError as error:
        _fail(error.message, UNAVAILABLE if error.retryable else 1)


if __name__ == "__main__":
    main()
