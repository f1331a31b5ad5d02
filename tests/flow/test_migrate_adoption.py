"""Adoption on the real database and the sandbox: rows and gateway instances of earlier versions (J001–J003)."""

from uuid import UUID, uuid4

import pytest
import requests
from sqlalchemy import text

from core.errors import InstanceUnknown, Malformed, NotFound, TimedOut, Unavailable
from manager.adoption import Adoption
from manager.leases import Leases
from manager.providers.evolution.client import EvolutionClient
from manager.providers.port import Found, Hook, HookSeen, Snapshot, State
from manager.upstream import Upstream
from tests.conftest import KEY
from tests.waiting import until

ELSEWHERE = Hook(url="http://127.0.0.1:9/n8n/secret-path", token="t", jwt_key="j")
OURS = "http://127.0.0.1:8765"


class Quiet:
    def begin(self, what: str, total: int) -> None: ...
    def step(self, count: int) -> None: ...


class FakeGateway:
    """A Provider in memory; `trouble` names the calls that fail, and how."""

    def __init__(self, *connected: str, closed: tuple[str, ...] = ()) -> None:
        self.live = dict.fromkeys(connected, State.CONNECTED) | dict.fromkeys(closed, State.DISCONNECTED)
        self.hooks: dict[str, Hook] = {}
        self.trouble: dict[str, Exception] = {}
        self.asked: list[str] = []

    def _ask(self, call: str) -> None:
        self.asked.append(call)
        if call in self.trouble:
            raise self.trouble[call]

    def instances(self) -> list[Found]:
        self._ask("instances")  # the stored state always says open: nobody may believe it
        return [Found(name=name, stored_state=State.CONNECTED, phone="5511999990001") for name in self.live]

    def states(self):
        self._ask("states")

    def state(self, name: str) -> Snapshot:
        self._ask("state")
        return Snapshot(name=name, state=self.live.get(name, State.NOT_FOUND))

    def hook(self, name: str) -> HookSeen | None:
        self._ask("hook")
        hook = self.hooks.get(name)
        return HookSeen(enabled=True, url=hook.url, token=hook.token, jwt_key=hook.jwt_key) if hook else None

    def set_hook(self, name: str, hook: Hook) -> None:
        self._ask("set_hook")
        self.hooks[name] = hook


@pytest.fixture
def adoption_on(system):
    """Adoption on a provider."""

    def make(provider, *, is_stand_in: bool = False) -> Adoption:
        upstream = (
            Upstream(transaction=system.transaction, provider=provider, vault=system.vault, webhook_base=OURS)
            if provider
            else None
        )
        leases = Leases(system.transaction, lambda _: None)
        return Adoption(
            transaction=system.transaction,
            upstream=upstream,
            leases=leases,
            clock=system.clock,
            is_stand_in=is_stand_in,
        )

    return make


@pytest.fixture
def evolution(sandbox):
    return EvolutionClient(sandbox.url, KEY)


@pytest.fixture
def person(engine):
    def make(organization: str | None = None) -> UUID:
        user_id = uuid4()
        with engine.begin() as connection:
            connection.execute(
                text("INSERT INTO profiles (id, email, organization_id) VALUES (:id, :mail, :org)"),
                {"id": user_id, "mail": f"{user_id}@x", "org": organization},
            )
        return user_id

    return make


@pytest.fixture
def put(engine):
    """A row as somebody else's version wrote it."""

    def make(name: str, **columns: object) -> None:
        columns = {"instance_name": name, **columns}
        names, marks = ", ".join(columns), ", ".join(f":{column}" for column in columns)
        with engine.begin() as connection:
            connection.execute(text(f"INSERT INTO whatsapp_instances ({names}) VALUES ({marks})"), columns)

    return make


@pytest.fixture
def kept(rows):
    """The rows: name → (user, name on the gateway)."""

    def fetch() -> dict[str, tuple[UUID | None, str | None]]:
        query = "SELECT instance_name, user_id, gateway_name FROM whatsapp_instances"
        return {row["instance_name"]: (row["user_id"], row["gateway_name"]) for row in rows(query)}

    return fetch


def run(adoption: Adoption, command: str = "update", **how):
    return adoption.run(command, write=command != "check", progress=Quiet(), **how)


def codes(report) -> dict[str, int]:
    return {code: count for code, count in report.as_dict()["counts"].items() if code != "gateway_away"}


def numbers(report) -> tuple[int, int, int, int]:
    found = report.as_dict()
    return found["processed"], found["migrated"], found["skipped"], found["errors"]


def paired(box, evolution, name, phone="5511977770001"):
    """An instance of somebody else's making, with a phone."""
    evolution.create(name, ELSEWHERE)
    evolution.connect(name)
    look = lambda: requests.get(f"{box.url}/instance/connect/{name}", headers={"apikey": KEY}, timeout=10).json()  # noqa: E731
    until(look, lambda answer: answer.get("code"))
    requests.post(
        f"{box.url}/sandbox/phones/scan", json={"instance": name, "phone": phone}, timeout=10
    ).raise_for_status()
    until(lambda: evolution.state(name).state, lambda state: state is State.CONNECTED)


def test_every_old_name_becomes_its_users_and_a_second_run_changes_nothing(adoption_on, person, put, kept, rows):
    ana, bia, caio, davi = person(), person(), person(), person()
    put(f"user_{ana}")
    put(f"auzap_{bia}")
    put(str(caio))
    put(f"USER_{davi.hex}")
    adoption = adoption_on(None)
    before = kept()
    check = run(adoption, "check").all()
    assert (check.exit_code, kept()) == (1, before)
    done = run(adoption).all()
    assert kept() == {
        f"user_{ana}": (ana, None),
        f"user_{bia}": (bia, f"auzap_{bia}"),
        f"user_{caio}": (caio, str(caio)),
        f"user_{davi}": (davi, f"USER_{davi.hex}"),
    }
    assert (numbers(done), done.exit_code) == ((4, 4, 0, 0), 0)
    assert codes(done) == {"user_id_missing": 1, "old_prefix": 1, "no_prefix": 1, "spelling": 1}
    noted = rows("SELECT actor, action, details FROM audit WHERE subject = :name", name=f"user_{bia}")
    assert [(row["actor"], row["action"]) for row in noted] == [("operator", "migrated")]
    assert noted[0]["details"]["old"]["instance_name"] == f"auzap_{bia}"
    assert noted[0]["details"]["new"] == {
        "instance_name": f"user_{bia}", "user_id": str(bia), "gateway_name": f"auzap_{bia}",
    }  # fmt: skip
    again = run(adoption).all()
    assert (numbers(again), again.exit_code, len(rows("SELECT FROM audit"))) == ((0, 0, 0, 0), 0, 4)
    assert run(adoption, "check").all().exit_code == 0


def test_who_does_not_exist_gets_no_row(adoption_on, put, kept):
    ghost = uuid4()
    put(f"auzap_{ghost}")
    done = run(adoption_on(None)).all()
    assert (codes(done), numbers(done), done.exit_code) == ({"no_such_user": 1}, (1, 0, 0, 1), 1)
    assert kept() == {f"auzap_{ghost}": (None, None)}


def test_a_free_name_needs_the_table(adoption_on, person, put, kept):
    ana = person()
    put("Loja Centro")
    put("Z_qdEw2Qs7vmTGwvUPIbM")
    adoption = adoption_on(None)
    assert codes(run(adoption).all()) == {"unmapped": 2}
    done = run(adoption, table=f"old name,user id\nLoja Centro,{ana}\nLoja Norte,{ana}").all()
    assert codes(done) == {"mapped": 1, "unmapped": 1, "map_unused": 1}
    assert kept() == {f"user_{ana}": (ana, "Loja Centro"), "Z_qdEw2Qs7vmTGwvUPIbM": (None, None)}
    with pytest.raises(Malformed, match=r"line 2: there is no user"):
        run(adoption, table=f"a,{ana}\nb,{uuid4()}")


def test_of_several_rows_one_is_kept_and_none_deleted(adoption_on, person, put, kept):
    ana, bia = person(), person()
    put(f"auzap_{ana}", created_at="2026-01-01")
    put(str(ana), created_at="2026-01-02")
    put(ana.hex, is_connected=True, created_at="2025-01-01")
    put(f"user_{bia}", user_id=bia)
    put(f"auzap_{bia}", is_connected=True)
    done = run(adoption_on(None)).all()
    assert kept() == {
        f"auzap_{ana}": (None, None),
        str(ana): (None, None),
        f"user_{ana}": (ana, ana.hex),
        f"user_{bia}": (bia, None),
        f"auzap_{bia}": (None, None),
    }
    assert codes(done) == {"no_prefix": 1, "surplus": 3, "better_unbound": 1}
    assert (numbers(done), done.exit_code) == ((4, 1, 3, 0), 0)
    again = run(adoption_on(None)).all()
    assert (codes(again), again.exit_code) == ({"surplus": 3, "better_unbound": 1}, 0)


def test_the_gateways_live_word_decides_between_rows_and_not_its_stored_one(adoption_on, person, put, kept):
    ana = person()
    put(f"auzap_{ana}", created_at="2025-01-01")
    put(f"user_{ana}", created_at="2026-01-01", is_connected=True)
    gateway = FakeGateway(f"auzap_{ana}", closed=(f"user_{ana}",))
    run(adoption_on(gateway)).all()
    assert kept() == {f"auzap_{ana}": (ana, None), f"user_{ana}": (None, None)}
    assert gateway.asked.count("instances") == 1
    assert f"/api/webhook/user/{ana}" in gateway.hooks[f"auzap_{ana}"].url


def test_a_named_gateway_that_is_silent_is_waited_for_where_it_must_choose(adoption_on, person, put, kept):
    ana, bia = person(), person()
    put(f"auzap_{ana}")
    put(str(ana))
    put(f"auzap_{bia}")
    gateway = FakeGateway()
    gateway.trouble["instances"] = Unavailable("gone")
    done = run(adoption_on(gateway)).all()
    assert (done.gateway, done.exit_code, codes(done)) == ("away", 69, {"needs_gateway": 2, "old_prefix": 1})
    assert kept()[f"user_{bia}"] == (bia, f"auzap_{bia}")
    assert gateway.asked == ["instances"]
    assert run(adoption_on(gateway, is_stand_in=True)).all().exit_code == 0, "a sandbox need not run"


def test_a_gateway_that_falls_silent_half_way_leaves_rows_that_the_next_run_finishes(adoption_on, person, put, rows):
    users = [person() for _ in range(3)]
    for user in users:
        put(f"auzap_{user}")
    gateway = FakeGateway(*(f"auzap_{user}" for user in users))
    gateway.trouble["set_hook"] = TimedOut("too slow")
    done = run(adoption_on(gateway)).all()
    assert (done.exit_code, done.as_dict()["migrated"], gateway.asked.count("set_hook")) == (69, 3, 1)
    gateway.trouble.clear()
    again = run(adoption_on(gateway)).all()
    assert (again.exit_code, codes(again), len(gateway.hooks)) == (0, {"unhooked": 3}, 3)
    assert len(rows("SELECT FROM whatsapp_instances WHERE is_connected AND hooked_at IS NOT NULL")) == 3
    assert codes(run(adoption_on(gateway)).all()) == {}


def test_one_instance_that_fails_does_not_stop_the_others(adoption_on, person, put):
    user = person()
    put(f"auzap_{user}")
    gateway = FakeGateway(f"auzap_{user}")
    gateway.trouble["set_hook"] = InstanceUnknown("no such instance")
    done = run(adoption_on(gateway)).all()
    assert (codes(done), done.exit_code) == ({"old_prefix": 1, "gateway_failed": 1}, 1)


def test_a_paired_instance_without_a_row_is_adopted_under_its_name_with_its_session(
    sandbox, evolution, adoption_on, person, rows
):
    ana = person("org_7")
    name = f"auzap_{ana}"
    paired(sandbox, evolution, name)
    paired(sandbox, evolution, "somebody elses")
    adoption = adoption_on(evolution)
    check = run(adoption, "check").all()
    assert (check.exit_code, codes(check)) == (0, {"no_row": 1, "gateway_only": 1})
    assert rows("SELECT FROM whatsapp_instances") == []
    done = run(adoption).all()
    assert (numbers(done), done.exit_code) == ((1, 1, 0, 0), 0)
    (row,) = rows("SELECT * FROM whatsapp_instances")
    assert (row["instance_name"], row["gateway_name"], row["user_id"]) == (f"user_{ana}", name, ana)
    assert (row["status"], row["is_connected"], row["phone_number"]) == ("connected", True, "5511977770001")
    assert row["organization_id"] == "org_7"
    hook = evolution.hook(name)
    assert hook.url == f"{OURS}/api/webhook/user/{ana}"
    assert hook.token.startswith("whk_")
    assert evolution.hook("somebody elses").url == ELSEWHERE.url
    (noted,) = rows("SELECT action, actor, details FROM audit")
    assert (noted["action"], noted["actor"], noted["details"]["gateway_name"]) == ("adopted", "operator", name)
    assert noted["details"]["old"] == {"webhook_host": "127.0.0.1:9"}
    assert {row["type"] for row in rows("SELECT type FROM feed")} == {"status", "connected"}
    assert evolution.state(name).state is State.CONNECTED
    again = run(adoption).all()
    assert (numbers(again), again.exit_code, len(rows("SELECT FROM audit"))) == ((0, 0, 0, 0), 0, 1)


def test_a_stale_open_in_the_gateways_list_is_not_believed(sandbox, evolution, adoption_on, person, rows):
    ana = person()
    paired(sandbox, evolution, f"user_{ana}")
    drop = {"reason": 428, "silent": True}
    requests.post(f"{sandbox.url}/sandbox/instances/user_{ana}/drop", json=drop, timeout=10).raise_for_status()
    assert [found.stored_state for found in evolution.instances()] == [State.CONNECTED]
    run(adoption_on(evolution)).all()
    (row,) = rows("SELECT status, gateway_name, hooked_at FROM whatsapp_instances")
    assert (row["status"], row["gateway_name"]) == ("disconnected", None)
    assert row["hooked_at"] is not None


def test_after_the_seeds_sql_reset_the_session_is_found_again(
    sandbox, evolution, adoption_on, person, put, rows, engine
):
    """A026: the reset of the seed, by SQL, while the phone stays paired."""
    ana = person()
    paired(sandbox, evolution, f"auzap_{ana}")
    put(f"auzap_{ana}")
    adoption = adoption_on(evolution)
    done = run(adoption).all()
    assert (numbers(done), codes(done)) == ((1, 1, 0, 0), {"old_prefix": 1})
    assert "its session stays" in done.as_dict()["findings"][0]["text"]
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM whatsapp_instances WHERE user_id = :id"), {"id": ana})
    assert run(adoption, "check").all().exit_code == 0
    assert codes(run(adoption).all()) == {"no_row": 1}
    (row,) = rows("SELECT instance_name, gateway_name, status FROM whatsapp_instances")
    assert tuple(row.values()) == (f"user_{ana}", f"auzap_{ana}", "connected")


def test_differences_with_the_gateway_are_notes(sandbox, evolution, adoption_on, person, put, kept):
    ana, bia, caio = person(), person(), person()
    put(f"user_{ana}", user_id=ana, hooked_at="2026-01-01")
    put(f"user_{bia}", user_id=bia, hooked_at="2026-01-01")
    put(f"user_{caio}", user_id=caio)
    evolution.create(f"user_{bia}", ELSEWHERE)
    evolution.create(f"auzap_{bia}", ELSEWHERE)
    adoption = adoption_on(evolution)
    for command in ("check", "update"):
        done = run(adoption, command).all()
        assert codes(done) == {"not_on_gateway": 2, "hook_elsewhere": 1, "gateway_only": 1}
        assert (done.exit_code, numbers(done)) == (0, (0, 0, 0, 0))
    assert evolution.hook(f"user_{bia}").url == ELSEWHERE.url
    assert len(evolution.instances()) == 2, "nothing is created silently"


def test_who_is_adopted_by_somebody_else_in_the_meantime_is_not_counted_again(adoption_on, person, put, rows, engine):
    ana = person()
    put(f"auzap_{ana}", user_id=ana)

    class Slow(FakeGateway):
        """Another run finishes it between our list and our lease."""

        def state(self, name: str) -> Snapshot:
            with engine.begin() as connection:
                connection.execute(text("UPDATE whatsapp_instances SET hooked_at = now()"))
            return super().state(name)

    gateway = Slow(f"auzap_{ana}")
    done = run(adoption_on(gateway)).all()
    assert (numbers(done), gateway.hooks) == ((1, 1, 0, 0), {})
    assert [row["action"] for row in rows("SELECT action FROM audit")] == ["migrated"]


def test_who_is_in_other_hands_is_left_for_the_next_run(adoption_on, system, person, put):
    ana = person()
    put(f"user_{ana}", user_id=ana)
    gateway = FakeGateway(f"user_{ana}")
    with Leases(system.transaction).hold(f"user_{ana}", "connect"):
        done = run(adoption_on(gateway)).all()
    assert (done.exit_code, codes(done), gateway.hooks) == (75, {"busy": 1}, {})


def test_a_table_that_was_used_up_has_no_unused_names(adoption_on, person, put):
    ana = person()
    put("Loja Centro")
    table = f"Loja Centro,{ana}"
    assert codes(run(adoption_on(None), table=table).all()) == {"mapped": 1}
    assert codes(run(adoption_on(None), table=table).all()) == {}


def test_of_several_on_the_gateway_the_connected_one_is_adopted(adoption_on, person, kept):
    ana = person()
    gateway = FakeGateway(f"auzap_{ana}", closed=(f"user_{ana}", str(ana)))
    done = run(adoption_on(gateway)).all()
    assert codes(done) == {"no_row": 1, "gateway_only": 2}
    assert kept() == {f"user_{ana}": (ana, f"auzap_{ana}")}


def test_a_deleted_instance_is_left_alone(adoption_on, person, put, kept):
    ana, bia = person(), person()
    put(f"auzap_{ana}", deleted_at="2026-01-01")
    put(f"user_{bia}", user_id=bia, deleted_at="2026-01-01")
    gateway = FakeGateway(f"auzap_{ana}", f"user_{bia}")
    before = kept()
    assert codes(run(adoption_on(gateway)).all()) == {}
    assert (kept(), gateway.hooks) == (before, {})


def test_one_instance_by_its_old_or_new_name(adoption_on, person, put, kept):
    ana, bia, caio = person(), person(), person()
    for user in (ana, bia):
        put(f"auzap_{user}")
    gateway = FakeGateway(f"auzap_{ana}", f"auzap_{caio}")
    adoption = adoption_on(gateway)
    assert numbers(run(adoption, "migrate").one(f"auzap_{ana}")) == (1, 1, 0, 0)
    assert kept() == {f"user_{ana}": (ana, f"auzap_{ana}"), f"auzap_{bia}": (None, None)}
    assert numbers(run(adoption, "migrate").one(f"user_{bia}")) == (1, 1, 0, 0)
    assert run(adoption, "migrate").one(f"auzap_{ana}").exit_code == 0, "it is done already"
    assert numbers(run(adoption, "migrate").one(f"auzap_{caio}")) == (1, 1, 0, 0)
    assert kept()[f"user_{caio}"] == (caio, f"auzap_{caio}")
    assert set(gateway.hooks) == {f"auzap_{ana}", f"auzap_{caio}"}
    for name in ("user_does_not_exist", f"user_{uuid4()}"):
        with pytest.raises(NotFound, match="not found"):
            run(adoption, "migrate").one(name)


def test_one_that_is_not_the_best_is_not_done(adoption_on, person, put, kept):
    ana = person()
    put(f"auzap_{ana}")
    put(str(ana), is_connected=True)
    before = kept()
    done = run(adoption_on(None), "migrate").one(f"auzap_{ana}")
    assert (done.exit_code, codes(done), kept()) == (1, {"surplus": 1}, before)


def test_odd_values_of_earlier_versions_are_no_trouble(engine, adoption_on, person, put, kept):
    ana, bia = person(), person()
    nothing = dict.fromkeys(("status", "is_connected", "created_at", "updated_at", "phone_number", "organization_id"))
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE whatsapp_instances DROP CONSTRAINT ck_whatsapp_instances_status"))
    try:
        put(f"auzap_{ana}", **{**nothing, "status": "open", "created_at": "-infinity"})
        put(str(ana), **{**nothing, "status": "Pendente", "created_at": "infinity"})
        put(f"user_{bia}", **{**nothing, "status": "ERROR", "user_id": bia})
        put("' ; DROP TABLE x; -- {}\\", **nothing)
        gateway = FakeGateway(f"user_{bia}")
        done = run(adoption_on(gateway)).all()
        assert codes(done) == {"old_prefix": 1, "surplus": 1, "unmapped": 1, "unhooked": 1, "not_on_gateway": 1}
    finally:
        with engine.begin() as connection:
            connection.execute(text("DELETE FROM whatsapp_instances"))
            connection.execute(
                text(
                    "ALTER TABLE whatsapp_instances ADD CONSTRAINT ck_whatsapp_instances_status "
                    "CHECK (status IN ('disconnected', 'connecting', 'qr_pending', 'connected'))"
                )
            )


def test_a_run_that_is_told_to_stop_says_what_is_done(adoption_on, person, put, rows):
    for _ in range(6):
        put(f"auzap_{person()}")

    def stop() -> bool:
        return len(rows("SELECT FROM audit")) >= 4

    done = run(adoption_on(None), batch=2, stop=stop).all()
    assert (done.interrupted, done.exit_code, numbers(done)) == (True, 130, (4, 4, 0, 0))
    assert numbers(run(adoption_on(None)).all()) == (2, 2, 0, 0)


def test_somebody_who_connects_at_the_same_moment_keeps_their_new_instance(adoption_on, person, put, kept, engine):
    ana = person()
    put(f"auzap_{ana}")

    class Clicks(FakeGateway):
        """The user clicks while the gateway is being listed."""

        def instances(self):
            put(f"user_{ana}", user_id=ana)
            return super().instances()

    done = run(adoption_on(Clicks())).all()
    assert codes(done) == {"surplus": 1, "not_on_gateway": 1}
    assert kept() == {f"user_{ana}": (ana, None), f"auzap_{ana}": (None, None)}
