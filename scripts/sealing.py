"""`ops.py reseal`: after a new key was put in front."""

import sys

import click

from scripts.opened import opened


@click.command()
def reseal() -> None:
    """Seal all stored secrets with the first key of APP_ENCRYPTION_KEY, so that the keys behind it can go.

    Prints how many were sealed again. Exit 1 where some open with none of the keys.
    """
    from bootstrap.sealing import reseal_all

    with opened() as system:
        found = reseal_all(system)
    click.echo(f"{found.renewed} sealed again, {found.lost} that no key opens")
    sys.exit(1 if found.lost else 0)
