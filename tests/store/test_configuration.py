"""What administrators decide over the environment, and the keys it is sealed with."""

import json
from collections.abc import Callable
from uuid import uuid4

import pytest
from click.testing import CliRunner
from cryptography.fernet import Fernet
from sqlalchemy import LargeBinary, text

from bootstrap.sealing import sealed_columns
from core.crypto import Vault
from core.db import Base, make_engine, transactions
from core.errors import AppError, Malformed
from core.resealing import BATCH, Resealed, reseal
from manager.configuration import LOST, PROVIDERS, Configuration, Configurations
from manager.keys import keys_of
from scripts.sealing import reseal as command
from tests.factories import make_instance

OLD, NEW = (Fernet.generate_key().decode() for _ in range(2))
URL, SECRET = "http://leguas_wppconnect:21465", "THIS-IS-THE-GATEWAYS-KEY"
ROW = "SELECT * FROM system_configuration"


@pytest.fixture
def made(transaction, clock):
    """Configurations as another process has them: `made(keys)`."""

    def make(keys=OLD):
        return Configurations(transaction, Vault(keys), clock)

    return make


def test_the_environment_decides_until_somebody_does(made, rows):
    assert made().current() == Configuration()
    assert rows(ROW) == []


def test_what_is_decided_is_kept_and_the_key_is_sealed(made, rows):
    """K022, G015, L009"""
    decided = made().change("ana", provider="wppconnect", url=f"{URL}/", instance_name="leguas_wppconnect", key=SECRET)
    wanted = Configuration(provider="wppconnect", url=URL, instance_name="leguas_wppconnect", key=SECRET)
    assert decided == wanted == made().current()
    [row] = rows(ROW)
    assert (row["id"], row["whatsapp_enabled"], row["whatsapp_evolution_api_url"]) == (1, True, URL)
    assert Vault(OLD).open(row["whatsapp_evolution_api_key"]) == {"key": SECRET}
    assert SECRET not in json.dumps([row, *rows("SELECT * FROM audit")], default=str)
    assert SECRET not in repr(decided)


def test_every_change_says_who_made_it_and_never_the_key(made, rows):
    one = made()
    one.change("ana", url=URL, key=SECRET)
    one.change("rui", enabled=False)
    one.change("rui", url=None)
    found = rows("SELECT actor, action, subject, details FROM audit ORDER BY id")
    assert {(row["action"], row["subject"]) for row in found} == {("configuration.changed", "whatsapp")}
    assert [(row["actor"], row["details"]) for row in found] == [
        ("ana", {"url": URL, "key": "set"}),
        ("rui", {"enabled": False}),
        ("rui", {"url": None, "key": None}),
    ]


def test_a_change_leaves_the_rest_as_it_is(made):
    one = made()
    one.change("ana", url=URL, key=SECRET, instance_name="loja")
    assert one.change("ana", enabled=False, instance_name=" ") == Configuration(enabled=False, url=URL, key=SECRET)


def test_a_key_goes_to_no_server_that_it_was_not_given_for(made):
    one = made()
    with pytest.raises(Malformed, match="key"):
        one.change("ana", url=URL)  # the environment's would go there
    one.change("ana", url=URL, key=SECRET)
    for attempt in ({"url": "http://other:1"}, {"url": "http://other:1", "key": None}, {"key": None}):
        with pytest.raises(Malformed, match="key"):
            one.change("ana", **attempt)
    assert one.change("ana", url=URL, enabled=True).key == SECRET  # the same again
    assert one.change("ana", key="another").key == "another"
    assert one.change("ana", url="") == Configuration()


def test_with_another_provider_it_must_be_said_what_becomes_of_the_server(made):
    """Else the broker's address and key would be taken for Evolution's."""
    one = made()
    one.change("ana", provider="broker", url=URL, key=SECRET)
    with pytest.raises(Malformed, match="url"):
        one.change("ana", provider="evolution")
    assert one.change("ana", provider="broker", enabled=True).url == URL
    assert one.change("ana", provider="evolution", url=None) == Configuration(provider="evolution")
    one.change("ana", key=SECRET)
    with pytest.raises(Malformed, match="key"):
        one.change("ana", provider=None)


def test_a_key_alone_is_for_the_environments_server(made):
    one = made()
    assert one.change("ana", key=SECRET).key == SECRET
    assert one.change("ana", key=None) == Configuration()


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("enabled", ["true", 1, None, ""]),
        ("provider", ["evo", "EVOLUTION", 1, ["broker"], {"a": 1}]),
        ("instance_name", ["a b", "x" * 65, "ção", "a\0b", 5]),
        ("key", ["a b", "x" * 513, "chave é", "a\nb", 5]),
        ("url", ["leguas:21465", "ftp://x", "http://", "http://u:p@x", "http://x?key=1", "http://x:port", "http://x#a",
                 "http://x\n.y", "http://x\0", "http://[", f"http://x/{'a' * 2000}", 5, ["http://x"]]),
        ("instance", ["x"]),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_by_name(made, rows, field, values):
    for value in values:
        with pytest.raises(Malformed) as refused:
            made().change("ana", **{field: value, "enabled": value if field == "enabled" else True})
        assert (refused.value.details, field in refused.value.message) == ({"field": field}, True), value
        assert "http" not in refused.value.message or field == "url"
    assert rows("SELECT 1 FROM audit") == []


@pytest.mark.parametrize("provider", PROVIDERS)
def test_the_database_knows_the_same_providers(made, provider):
    assert made().change("ana", provider=provider).provider == provider


def test_it_is_remembered_for_five_seconds_and_a_change_is_seen_at_once(made, clock):
    here, there = made(), made()
    assert here.current().enabled
    there.change("ana", enabled=False)
    assert there.current().enabled is False
    clock.advance(seconds=4.9)
    assert here.current().enabled
    clock.advance(seconds=0.2)
    assert here.current().enabled is False


def test_a_clock_that_leaps_back_makes_nothing_last_for_ever(made, clock):
    here = made()
    here.current()
    made().change("ana", enabled=False)
    clock.advance(hours=-1)
    assert here.current().enabled is False


def test_what_is_read_while_it_changes_is_not_remembered(transaction, clock):
    class Slow(Vault):
        """Somebody changes it between the reading and the end of it."""

        def open(self, sealed):
            found = super().open(sealed)
            if meanwhile:
                meanwhile.pop()()
            return found

    one = Configurations(transaction, Slow(OLD), clock)
    meanwhile: list[Callable[[], object]] = []
    one.change("ana", key=SECRET)
    meanwhile.append(lambda: one.change("ana", enabled=False))
    assert one.current().enabled  # as it was when it was read
    assert one.current().enabled is False


def test_while_the_database_is_away_the_last_one_known_counts(engine, database_url, clock, free_port):
    away = transactions(make_engine(f"postgresql://nobody@127.0.0.1:{free_port}/none", statement_timeout_ms=1000))
    ways = {"there": transactions(engine), "away": away}
    is_there = "away"

    def transaction():
        return ways[is_there]()

    one = Configurations(transaction, Vault(OLD), clock)
    assert one.current() == Configuration()
    is_there = "there"
    known = one.change("ana", url=URL, key=SECRET, enabled=False)
    is_there = "away"
    assert one.current() == known
    clock.advance(seconds=6)
    assert one.current() == known
    with pytest.raises(AppError):
        one.change("ana", enabled=True)
    assert one.current() == known


def test_a_key_that_does_not_open_any_more_is_lost_and_nothing_else_is(made):
    made().change("ana", url=URL, key=SECRET, enabled=False)
    assert made(NEW).current() == Configuration(url=URL, key=LOST, enabled=False)
    assert made(NEW).change("ana", key="another").key == "another"


def seal_everything(transaction, keys, how_many=1):
    """Something in each sealed column; the ids of the instances."""
    vault = Vault(keys)
    with transaction() as connection:
        ids = []
        for _ in range(how_many):
            _, name = make_instance(connection)
            find = text("SELECT id FROM whatsapp_instances WHERE instance_name = :name")
            ids.append(connection.execute(find, {"name": name}).scalar_one())
            keys_of(connection, vault, ids[-1])
        target = text("INSERT INTO alert_targets (name, scheme, sealed, created_by) VALUES ('x', 'json', :sealed, 'x')")
        connection.execute(target, {"sealed": vault.seal({"url": "json://x"})})
    return ids


def test_a_new_key_in_front_seals_everything_again_and_the_old_one_can_go(made, transaction, rows):
    """K022, reliability: rotation"""
    ids = seal_everything(transaction, OLD, BATCH + 1)
    made().change("ana", url=URL, key=SECRET)
    with transaction() as connection:
        before = keys_of(connection, Vault(OLD), ids[0])
    assert reseal(transaction, Vault(f"{NEW},{OLD}"), sealed_columns()) == Resealed(renewed=BATCH + 3)
    assert made(NEW).current().key == SECRET
    with transaction() as connection:
        assert keys_of(connection, Vault(NEW), ids[0]) == before
    assert Vault(NEW).open(rows("SELECT sealed FROM alert_targets")[0]["sealed"]) == {"url": "json://x"}
    once = rows("SELECT id, sealed FROM webhook_keys ORDER BY id")
    assert reseal(transaction, Vault(f"{NEW},{OLD}"), sealed_columns()) == Resealed()
    assert rows("SELECT id, sealed FROM webhook_keys ORDER BY id") == once


def test_what_no_key_opens_is_counted_and_left_alone(made, transaction, rows):
    seal_everything(transaction, Fernet.generate_key().decode())
    made().change("ana", key=SECRET)
    before = rows("SELECT sealed FROM webhook_keys")
    assert reseal(transaction, Vault(f"{NEW},{OLD}"), sealed_columns()) == Resealed(renewed=1, lost=2)
    assert rows("SELECT sealed FROM webhook_keys") == before


def test_what_changes_meanwhile_is_not_overwritten(transaction, rows):
    [instance] = seal_everything(transaction, OLD)

    class Slow(Vault):
        def renewed(self, sealed):
            with transaction() as connection:
                theirs = text("UPDATE webhook_keys SET sealed = :sealed WHERE instance_id = :id AND sealed = :before")
                values = {"sealed": Vault(NEW).seal({"by": "somebody"}), "id": instance, "before": sealed}
                connection.execute(theirs, values)
            return super().renewed(sealed)

    [hooks, *_] = sealed_columns()
    assert reseal(transaction, Slow(f"{NEW},{OLD}"), [hooks]) == Resealed(renewed=0)
    assert Vault(NEW).open(rows("SELECT sealed FROM webhook_keys")[0]["sealed"]) == {"by": "somebody"}


def test_no_column_of_bytes_is_forgotten():
    """A new one is sealed, and then it stands in bootstrap.sealing, or it holds no secret, and its name stands here."""
    no_secrets = {"token_hash", "body", "key"}
    found = {str(column) for table in Base.metadata.sorted_tables for column in table.columns
             if isinstance(column.type, LargeBinary) and column.name not in no_secrets}  # fmt: skip
    assert found == {str(column) for column in sealed_columns()}


def test_ops_reseal_says_what_it_did(database_url, transaction, made, monkeypatch, place):
    seal_everything(transaction, OLD)
    monkeypatch.setenv("DATABASE_URL", database_url)
    monkeypatch.setenv("ZELADOR_DATA_DIR", str(place / uuid4().hex))
    monkeypatch.setenv("APP_ENCRYPTION_KEY", f"{NEW},{OLD}")
    first, second = (CliRunner().invoke(command) for _ in range(2))
    assert (first.exit_code, first.output) == (0, "2 sealed again, 0 that no key opens\n")
    assert (second.exit_code, second.output) == (0, "0 sealed again, 0 that no key opens\n")
    monkeypatch.setenv("APP_ENCRYPTION_KEY", OLD)
    lost = CliRunner().invoke(command)
    assert (lost.exit_code, lost.output) == (1, "0 sealed again, 2 that no key opens\n")
