"""`ops.py reset` and `ops.py rotate`: one instance, by hand."""

import click

from core.access import user_uuid
from core.errors import NotConfigured
from scripts.opened import opened


@click.command()
@click.argument("user_id")
@click.option("--keep-on-gateway", is_flag=True, help="Only the row: the gateway's instance is taken over again later.")
def reset(user_id: str, keep_on_gateway: bool) -> None:
    """Forget a user's instance: the next connect makes it anew and asks for a new pairing.

    Messages and contacts of the instance's conversations go with its row.
    """
    user = user_uuid(user_id)
    with opened() as system:
        if not keep_on_gateway:
            system.manager.part_user_whatsapp(user, "close")
        system.manager.forget(user, actor="operator")
    click.echo("reset")


@click.command()
@click.option("--instance", required=True, help="Its name, user_…")
def rotate(instance: str) -> None:
    """Give an instance's webhook new keys; the old ones are good for another 24 hours."""
    with opened() as system:
        if system.upstream is None:
            raise NotConfigured("WhatsApp is not configured", missing=["EVOLUTION_API_URL", "EVOLUTION_API_KEY"])
        system.upkeep.hooks.rotate(instance, actor="operator")
    click.echo("rotated")
