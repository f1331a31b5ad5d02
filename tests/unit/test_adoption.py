"""Adoption's rules: whose an instance is, which of several is kept, what a report says (J001–J003, A002, X09)."""

from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import Malformed
from manager.adoption.names import Names, read_map, technical
from manager.adoption.plan import Group, Row, Seen, settle
from manager.adoption.report import WORDS, Finding, Kind, Report

ANA, BIA = UUID("550e8400-e29b-41d4-a716-446655440000"), UUID("6ba7b810-9dad-41d1-80b4-00c04fd430c8")
NOBODY_ASKED = Seen()


def row(name: str, number: int = 1, **facts: object) -> Row:
    return Row(id=UUID(int=number), name=name, **facts)  # type: ignore[arg-type]  # a test's short form


def group(*unbound: Row, bound: Row | None = None, exists: bool = True, **facts: object) -> Group:
    every = [*unbound, *([bound] if bound else [])]
    facts.setdefault("taken", {one.name: one.id for one in every})
    return Group(user_id=ANA, exists=exists, bound=bound, unbound=unbound, **facts)  # type: ignore[arg-type]


def told(*findings: Finding) -> list[tuple[str, str, str]]:
    return [(finding.code, finding.kind.value, finding.instance) for finding in findings]


@pytest.mark.parametrize(
    ("name", "code"),
    [
        (f"user_{ANA}", "user_id_missing"),
        (f"auzap_{ANA}", "old_prefix"),
        (f"AUZAP_{ANA.hex}", "old_prefix"),
        (str(ANA), "no_prefix"),
        (ANA.hex, "no_prefix"),
        (f"user_{str(ANA).upper()}", "spelling"),
        (f"USER_{ANA}", "spelling"),
    ],
)
def test_an_old_name_says_its_user(name: str, code: str) -> None:
    said = Names().of(name)
    assert said is not None
    assert (said.user_id, said.code) == (ANA, code)


@pytest.mark.parametrize(
    "name", ["", "Main WhatsApp", "user_123", "user_", "auzap_", f"x{ANA}", f"{ANA}x", f"urn:uuid:{ANA}", f"{{{ANA}}}"]
)
def test_other_names_say_nobody(name: str) -> None:
    assert Names().of(name) is None


@given(st.text())
def test_any_text_is_a_name_or_not(name: str) -> None:
    Names().of(name)


def test_the_table_counts_more_than_the_name() -> None:
    names = read_map(f"old_name,user_id\n# a note\n\nauzap_{ANA},{BIA}\nLoja Centro;{ANA}\n")
    said = [names.of(name) for name in (f"auzap_{ANA}", "Loja Centro")]
    assert [(one.user_id, one.code) for one in said if one] == [(BIA, "mapped"), (ANA, "mapped")]
    assert read_map("\ufeff").of("x") is None


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (f"a,{ANA}\nb", "line 2: must be"),
        (f"a,{ANA}\nb,joao", "line 2: the user's id is no UUID"),
        ("a,joao", "line 1: the user's id is no UUID"),
        (f"old,user_id\na,{ANA}\n\na,{BIA}", "line 4: a stands in line 2 already"),
        (f"a,{ANA},x", "line 1: must be"),
        (f",{ANA}", "line 1: must be"),
        (f"a\0,{ANA}", "line 1: must be"),
        (f'"a,{ANA}', "line 1: must be"),
    ],
)
def test_a_wrong_table_names_its_line(table: str, said: str) -> None:
    with pytest.raises(Malformed, match=said):
        read_map(table)


def test_an_old_prefix_becomes_the_users_name_and_is_kept_for_the_gateway() -> None:
    (found,) = settle(group(row(f"auzap_{ANA}")), Names(), NOBODY_ASKED)
    assert told(found) == [("old_prefix", "mendable", f"auzap_{ANA}")]
    assert (found.becomes, found.gateway_name) == (technical(ANA), f"auzap_{ANA}")


def test_a_name_that_is_right_only_gets_its_user() -> None:
    (found,) = settle(group(row(technical(ANA))), Names(), NOBODY_ASKED)
    assert (found.code, found.becomes, found.gateway_name, found.user_id) == ("user_id_missing", None, None, ANA)


def test_a_gateway_that_knows_only_the_new_name_is_believed() -> None:
    seen = Seen(reached=True, names={technical(ANA)})
    (found,) = settle(group(row(f"auzap_{ANA}")), Names(), seen)
    assert (found.becomes, found.gateway_name) == (technical(ANA), None)


def test_of_several_the_one_connected_on_the_gateway_is_kept_then_here_then_the_newest() -> None:
    old, new = row(f"auzap_{ANA}", 1, created_s=1.0), row(str(ANA), 2, created_s=2.0)
    here = row(technical(ANA), 3, connected=True)
    for rows, seen, kept in [
        ((old, new), NOBODY_ASKED, new),
        ((old, new, here), NOBODY_ASKED, here),
        ((old, new, here), Seen(reached=True, names={old.name}, connected={old.name}), old),
    ]:
        found = settle(group(*rows), Names(), seen)
        assert [one.instance for one in found if one.kind is Kind.MENDABLE] == [kept.name]
        assert {one.instance for one in found if one.code == "surplus"} == {one.name for one in rows} - {kept.name}


def test_rows_without_a_time_are_older_than_all_and_infinite_ones_are_no_trouble() -> None:
    rows = [row(f"auzap_{ANA}", 3), row(str(ANA), 1, created_s=float("-inf")), row(ANA.hex, 2, created_s=0.0)]
    assert told(*settle(group(*rows), Names(), NOBODY_ASKED))[0] == ("no_prefix", "mendable", ANA.hex)


def test_a_kept_row_whose_new_name_a_surplus_one_has_keeps_its_own() -> None:
    best, other = row(f"auzap_{ANA}", 1, connected=True), row(technical(ANA), 2)
    found = settle(group(best, other), Names(), NOBODY_ASKED)
    assert (found[0].becomes, found[0].gateway_name, found[0].kind) == (None, None, Kind.MENDABLE)
    again = settle(group(other, bound=row(f"auzap_{ANA}", 1, user_id=ANA)), Names(), NOBODY_ASKED)
    assert told(*again) == [("name_taken", "note", f"auzap_{ANA}"), ("surplus", "skipped", technical(ANA))]


def test_the_users_own_row_stays_and_a_better_one_is_only_reported() -> None:
    bound = row(technical(ANA), 1, user_id=ANA)
    better = row(f"auzap_{ANA}", 2, connected=True)
    found = settle(group(better, row(str(ANA), 3, created_s=9.0), bound=bound), Names(), NOBODY_ASKED)
    assert told(*found) == [
        ("surplus", "skipped", f"auzap_{ANA}"),
        ("surplus", "skipped", str(ANA)),
        ("better_unbound", "note", f"auzap_{ANA}"),
    ]


def test_a_bound_row_is_renamed_only_where_its_name_says_its_own_user() -> None:
    (old,) = settle(group(bound=row(f"auzap_{ANA}", user_id=ANA)), Names(), NOBODY_ASKED)
    assert (old.code, old.becomes) == ("old_prefix", technical(ANA))
    for name in (f"auzap_{BIA}", "Main WhatsApp"):
        assert told(*settle(group(bound=row(name, user_id=ANA)), Names(), NOBODY_ASKED)) == [
            ("named_otherwise", "note", name)
        ]


def test_whose_user_is_gone_is_an_error() -> None:
    found = settle(group(row(f"auzap_{ANA}"), exists=False), Names(), NOBODY_ASKED)
    assert told(*found) == [("no_such_user", "error", f"auzap_{ANA}")]


def test_a_silent_gateway_is_waited_for_only_where_there_is_a_choice() -> None:
    silent = Seen(silent=True)
    rows = row(f"auzap_{ANA}", 1), row(str(ANA), 2)
    assert {one.code for one in settle(group(*rows), Names(), silent)} == {"needs_gateway"}
    assert settle(group(rows[0]), Names(), silent)[0].kind is Kind.MENDABLE


def test_a_gateway_name_of_another_row_is_never_taken() -> None:
    found = settle(group(row(f"auzap_{ANA}"), taken_there={f"auzap_{ANA}": UUID(int=9)}), Names(), NOBODY_ASKED)
    assert told(*found) == [("name_taken", "error", f"auzap_{ANA}")]


def report(command: str, *kinds: tuple[str, Kind], **facts: bool) -> Report:
    made = Report(command=command, interrupted=facts.pop("interrupted", False))
    made.add(Finding(code=code, kind=kind, instance="i", **facts) for code, kind in kinds)  # type: ignore[arg-type]
    return made


MEND, SURPLUS = ("old_prefix", Kind.MENDABLE), ("surplus", Kind.SKIPPED)


@pytest.mark.parametrize(
    ("made", "code"),
    [
        (report("check"), 0),
        (report("check", MEND), 1),
        (report("check", MEND, on_gateway=True), 0),
        (report("check", SURPLUS), 0),
        (report("check", ("needs_gateway", Kind.SKIPPED)), 1),
        (report("check", ("no_such_user", Kind.ERROR)), 1),
        (report("update", ("old_prefix", Kind.MIGRATED), SURPLUS), 0),
        (report("update", ("no_such_user", Kind.ERROR)), 1),
        (report("update", ("needs_gateway", Kind.SKIPPED)), 69),
        (report("update", ("busy", Kind.SKIPPED)), 75),
        (report("update", MEND, interrupted=True), 130),
        (report("migrate", SURPLUS), 1),
        (report("migrate", ("not_on_gateway", Kind.NOTE)), 0),
    ],
)
def test_the_exit_code_says_how_it_went(made: Report, code: int) -> None:
    assert made.exit_code == code


def test_of_many_alike_the_report_shows_the_first_ones() -> None:
    made = Report(command="check", rows=25)
    made.add(Finding(code="unmapped", kind=Kind.SKIPPED, instance=f"i{number}") for number in range(25))
    lines = list(made.lines())
    assert lines[1] == f"skipped: unmapped 25 – {WORDS['unmapped']}"
    assert lines[-2:] == [
        "    … and 15 more (--json lists all)",
        "processed 25, migrated 0, skipped 25, errors 0",
    ]
    assert len(made.as_dict()["findings"]) == made.processed == 25


def test_every_word_is_explained_in_migration_md() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs/migration.md").read_text()
    assert [word for word in WORDS if f"`{word}`" not in page] == []
