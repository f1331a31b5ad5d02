"""Who is who: sets of names, whatever the order in which they were seen together. Laws, and tables for the rules."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid5

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conversations.changes import KnownAlias, Merge
from conversations.identity import SPACE, Identities, Sighting, rank, resolve

START = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
ORG, OTHER = "org-1", "org-2"
PHONE, NEWER_PHONE = "5511999990001@s.whatsapp.net", "5511999990002@s.whatsapp.net"
WITH_NINE, WITHOUT_NINE = "5511999990001@s.whatsapp.net", "551199990001@s.whatsapp.net"
LID, OTHER_LID = "111@lid", "222@lid"
A, B, C = (UUID(int=number) for number in (1, 2, 3))
few = settings(max_examples=50, deadline=None)
NAMES = (PHONE, NEWER_PHONE, LID, OTHER_LID, "333@lid", "444@lid")


def at(second):
    return START + timedelta(seconds=second)


def seen(*names, second=0, scope=ORG):
    return Sighting(scope=scope, names=names, at=at(second))


def known(contact, *names, pinned=False, second=0, scope=ORG):
    first = None if second is None else at(second)
    return {(scope, name): KnownAlias(contact=contact, pinned=pinned, first_seen_at=first) for name in names}


def partition(found: Identities):
    """Which names are one person's."""
    sets = defaultdict(set)
    for alias, contact in found.contact_of.items():
        sets[contact].add(alias)
    return {frozenset(names) for names in sets.values()}


def new_id(name, scope=ORG):
    return uuid5(SPACE, f"{scope}/{name}")


# ---- laws ------------------------------------------------------------------------------------------------------

sightings = st.builds(
    lambda names, second, scope: seen(*names, second=second, scope=scope),
    st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True),
    st.integers(0, 5),
    st.sampled_from([ORG, OTHER]),
)
held = st.dictionaries(
    st.tuples(st.sampled_from([ORG, OTHER]), st.sampled_from(NAMES)),
    st.tuples(st.integers(1, 3), st.none() | st.integers(0, 5)),
    max_size=6,
)


def known_of(held, pinned=frozenset()):
    """A contact belongs to one scope: its number says to which."""
    return {
        (scope, name): KnownAlias(
            contact=UUID(int=number + (10 if scope == OTHER else 0)),
            pinned=number in pinned,
            first_seen_at=None if second is None else at(second),
        )
        for (scope, name), (number, second) in held.items()
    }


@few
@given(st.data(), held, st.lists(sightings, max_size=6))
def test_any_order_and_repetition_of_sightings_makes_the_same_people(data, held, found):
    """P5"""
    again = data.draw(st.lists(st.sampled_from(found), max_size=3)) if found else []
    shuffled = data.draw(st.permutations([*found, *again]))
    one, other = resolve(known_of(held), found), resolve(known_of(held), shuffled)
    assert one.contact_of == other.contact_of
    assert one.aliases == other.aliases
    assert {(merge.survivor, merge.loser) for merge in one.merges} == {
        (merge.survivor, merge.loser) for merge in other.merges
    }


@few
@given(st.data(), held, st.lists(sightings, max_size=6))
def test_the_order_of_names_within_a_sighting_makes_no_difference(data, held, found):
    turned = [seen(*data.draw(st.permutations(one.names)), second=0, scope=one.scope) for one in found]
    plain = [seen(*one.names, second=0, scope=one.scope) for one in found]
    assert resolve(known_of(held), plain).contact_of == resolve(known_of(held), turned).contact_of


@few
@given(held, st.lists(sightings, max_size=6))
def test_names_are_one_person_exactly_where_a_chain_of_sightings_or_a_known_contact_links_them(held, found):
    """P5: against a model, the closure of "seen together" and "known as one"."""
    knowns = known_of(held)
    groups = [{(one.scope, name) for name in one.names} for one in found]
    groups += [{alias for alias in knowns if knowns[alias].contact == contact} for contact in _contacts(knowns)]
    closed: list[set[tuple[str, str]]] = []
    for group in groups:
        touching = [other for other in closed if other & group]
        closed = [other for other in closed if not other & group] + [group.union(*touching)]
    assert partition(resolve(knowns, found)) == {frozenset(group) for group in closed}


@few
@given(held, st.lists(sightings, max_size=6))
def test_known_contacts_are_merged_exactly_where_they_are_linked(held, found):
    knowns = known_of(held)
    result = resolve(knowns, found)
    for names in partition(result):
        contacts = {knowns[alias].contact for alias in names if alias in knowns}
        merges = [merge for merge in result.merges if merge.loser in contacts or merge.survivor in contacts]
        assert {merge.loser for merge in merges} == contacts - {result.contact_of[min(names)]}
        assert {merge.survivor for merge in merges} <= {result.contact_of[min(names)]} & contacts
        assert len(merges) == max(len(contacts) - 1, 0)


@few
@given(held, st.sets(st.integers(1, 3)), st.lists(sightings, max_size=6))
def test_pinned_contacts_are_never_merged_with_one_another(held, pinned, found):
    knowns = known_of(held, pinned)
    result = resolve(knowns, found)
    for alias, facts in knowns.items():
        assert not facts.pinned or result.contact_of[alias] not in {
            other.contact for other in knowns.values() if other.pinned and other.contact != facts.contact
        }
    together: dict[UUID, set[UUID]] = defaultdict(set)
    for merge in result.merges:
        together[merge.survivor] |= {merge.survivor, merge.loser}
    pins = {facts.contact for facts in knowns.values() if facts.pinned}
    assert all(len(contacts & pins) <= 1 for contacts in together.values())


@few
@given(held, st.lists(sightings, max_size=6))
def test_first_sights_are_told_only_where_they_are_news(held, found):
    """A later sight of a known name changes nothing: of two phones the one first seen last is the contact's."""
    knowns = known_of(held)
    result = resolve(knowns, found)
    first = defaultdict(list)
    for one in found:
        for name in one.names:
            first[one.scope, name].append(one.at)
    for alias, times in first.items():
        before = knowns[alias].first_seen_at if alias in knowns else None
        if before is not None and before <= min(times):
            assert alias not in result.aliases
        else:
            assert result.aliases[alias].first_seen_at == min(times)
            assert result.aliases[alias].is_new == (alias not in knowns)
    assert set(result.aliases) <= set(first)


@few
@given(held, st.lists(sightings, max_size=6))
def test_what_has_been_written_down_is_not_asked_for_again(held, found):
    """Twice is once."""
    knowns = known_of(held)
    once = resolve(knowns, found)
    after = {
        alias: KnownAlias(
            contact=contact,
            pinned=False,
            first_seen_at=once.aliases[alias].first_seen_at if alias in once.aliases else knowns[alias].first_seen_at,
        )
        for alias, contact in once.contact_of.items()
    }
    twice = resolve(after, found)
    assert twice.contact_of == once.contact_of
    assert (twice.aliases, twice.merges) == ({}, [])


@few
@given(st.lists(sightings, max_size=6), st.integers(0, 6))
def test_new_people_are_the_same_in_one_batch_and_in_two(found, cut):
    """Ids of new contacts are made of their best name; who is linked only later is merged instead."""
    together = resolve({}, found)
    first = resolve({}, found[:cut])
    between = {
        alias: KnownAlias(contact=contact, pinned=False, first_seen_at=first.aliases[alias].first_seen_at)
        for alias, contact in first.contact_of.items()
    }
    known_again = {alias: facts for alias, facts in between.items() if _is_spoken_of(alias, between, found[cut:])}
    second = resolve(known_again, found[cut:])
    merged = {merge.loser: merge.survivor for merge in second.merges}
    after = {
        alias: merged.get(contact, contact) for alias, contact in {**first.contact_of, **second.contact_of}.items()
    }
    sets = defaultdict(set)
    for alias, contact in after.items():
        sets[contact].add(alias)
    assert {frozenset(names) for names in sets.values()} == partition(together)


def _contacts(knowns):
    return {facts.contact for facts in knowns.values()}


def _is_spoken_of(alias, between, found):
    """What the database would be asked for: the names in the reports, and nothing else of the same people."""
    return any(alias == (one.scope, name) for one in found for name in one.names)


# ---- rules -----------------------------------------------------------------------------------------------------


def test_a_new_person_has_an_id_made_of_the_best_name():
    """H018: any process makes the same id."""
    assert resolve({}, [seen(LID)]).contact_of == {(ORG, LID): new_id(LID)}
    assert set(resolve({}, [seen(LID, PHONE)]).contact_of.values()) == {new_id(PHONE)}
    assert set(resolve({}, [seen(OTHER_LID, LID)]).contact_of.values()) == {new_id(LID)}


def test_another_organization_knows_another_person():
    found = resolve({}, [seen(PHONE), seen(PHONE, scope=OTHER)]).contact_of
    assert found == {(ORG, PHONE): new_id(PHONE), (OTHER, PHONE): new_id(PHONE, OTHER)}


def test_a_number_with_and_without_the_ninth_digit_are_two_people():
    """Digits are never corrected."""
    assert len(set(resolve({}, [seen(WITH_NINE), seen(WITHOUT_NINE)]).contact_of.values())) == 2


def test_the_same_digits_as_phone_and_as_lid_are_two_people():
    assert len(set(resolve({}, [seen("111@s.whatsapp.net"), seen("111@lid")]).contact_of.values())) == 2


def test_a_known_name_brings_the_new_one_to_its_contact():
    found = resolve(known(A, LID), [seen(LID, PHONE, second=3)])
    assert set(found.contact_of.values()) == {A}
    assert (found.merges, list(found.aliases)) == ([], [(ORG, PHONE)])


@pytest.mark.parametrize("names", [(PHONE, LID), (LID, PHONE)])
def test_of_two_known_contacts_the_one_with_the_phone_survives(names):
    found = resolve(known(B, PHONE) | known(A, LID), [seen(*names)])
    assert found.merges == [Merge(scope=ORG, survivor=B, loser=A, names=(PHONE, LID))]
    assert set(found.contact_of.values()) == {B}


def test_a_third_name_links_two_known_contacts_across_sightings():
    found = resolve(known(A, PHONE) | known(B, LID), [seen(PHONE, OTHER_LID), seen(OTHER_LID, LID)])
    assert [(merge.survivor, merge.loser) for merge in found.merges] == [(A, B)]


def test_two_pinned_contacts_stay_apart_and_keep_what_is_theirs():
    knowns = known(A, PHONE, pinned=True) | known(B, LID, pinned=True)
    found = resolve(knowns, [seen(PHONE, LID)])
    assert (found.merges, found.contact_of) == ([], {(ORG, PHONE): A, (ORG, LID): B})


def test_a_pinned_contact_takes_in_one_that_is_not():
    found = resolve(known(A, PHONE, pinned=True) | known(B, LID), [seen(PHONE, LID)])
    assert [(merge.survivor, merge.loser) for merge in found.merges] == [(A, B)]


def test_two_pinned_contacts_are_not_joined_by_a_stranger_either():
    knowns = known(A, PHONE, pinned=True) | known(B, LID, pinned=True)
    found = resolve(knowns, [seen(OTHER_LID, PHONE), seen(OTHER_LID, LID)])
    assert found.merges == []
    assert (found.contact_of[ORG, PHONE], found.contact_of[ORG, LID]) == (A, B)


def test_only_an_earlier_first_sight_of_a_known_name_is_news():
    assert resolve(known(A, LID, second=5), [seen(LID, second=6)]).aliases == {}
    assert resolve(known(A, LID, second=5), [seen(LID, second=5)]).aliases == {}
    earlier = resolve(known(A, LID, second=5), [seen(LID, second=4), seen(LID, second=3)]).aliases[ORG, LID]
    assert (earlier.first_seen_at, earlier.is_new, earlier.contact) == (at(3), False, A)


def test_a_known_name_of_which_nobody_wrote_down_when_gets_its_first_sight():
    assert resolve(known(A, LID, second=None), [seen(LID, second=9)]).aliases[ORG, LID].first_seen_at == at(9)


def test_of_two_new_phones_the_contact_has_the_one_seen_later():
    found = resolve({}, [seen(LID, NEWER_PHONE, second=2), seen(LID, PHONE, second=1)])
    assert found.phone_of(found.contact_of[ORG, LID]) == "5511999990002"


def test_who_is_known_by_a_lid_alone_has_no_phone():
    found = resolve({}, [seen(LID)])
    assert found.phone_of(found.contact_of[ORG, LID]) is None


def test_a_phone_is_a_better_name_than_any_other():
    assert min([(ORG, "000@lid"), (ORG, NEWER_PHONE), (ORG, PHONE)], key=rank) == (ORG, PHONE)


def test_nobody_seen_is_nobody_known():
    assert resolve({}, []) == Identities()
    assert resolve(known(A, PHONE, LID) | known(C, OTHER_LID), []).merges == []
