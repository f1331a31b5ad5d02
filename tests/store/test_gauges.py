"""What /metrics says of the fleet: words that are known, zero where that is known, and nothing where nothing is."""

from datetime import timedelta

import pytest
from sqlalchemy import text

from core.db import transactions
from core.errors import StorageUnavailable
from monitor.gauges import Gauges, of_fleet
from monitor.policy.health import HealthState
from monitor.pulse import Beat, PulseReader
from tests.factories import make_instance

MINUTE = timedelta(minutes=1)
LED = """
INSERT INTO monitor_terms (name, holder, term, until, ticked_at)
VALUES ('monitor', 'host:1:abc', 1, now() + make_interval(secs => :left_s), now() - make_interval(secs => :silent_s))
"""
WATCHED = """
UPDATE whatsapp_instances SET hooked_at = now(), last_connected_at = now() WHERE instance_name = :name
"""
HEALTH = """
INSERT INTO instance_health (instance_id, state, checked_at)
SELECT id, :state, now() - make_interval(secs => :ago_s) FROM whatsapp_instances WHERE instance_name = :name
"""
INCIDENT = """
INSERT INTO incidents (gateway, kind, opened_at, closed_at)
VALUES ('evolution', :kind, now(), CASE WHEN :over THEN now() END) RETURNING id
"""
ALERT = """
INSERT INTO alerts (incident_id, dedupe, kind, severity, at)
VALUES (:incident, :dedupe, 'down', 'warning', now()) RETURNING id
"""
TARGET = """
INSERT INTO alert_targets (name, scheme, sealed, created_by, enabled)
VALUES ('x', 'json', '', 'test', :enabled) RETURNING id
"""
DELIVERY = """
INSERT INTO alert_deliveries (alert_id, target_id, state, next_at)
VALUES (:alert, :target, :state, now() - make_interval(secs => :late_s))
"""


class Table:
    """The database, written by hand, and what is said of it."""

    def __init__(self, engine, clock):
        self.transaction = transactions(engine)
        self._gauges, self._clock = Gauges(of_fleet(self.transaction, MINUTE), clock), clock

    def write(self, query, **values):
        with self.transaction() as connection:
            written = connection.execute(text(query), values)
            return written.scalar() if written.returns_rows else None

    def led(self, *, left_s=10, silent_s: float | None = 5):
        self.write(LED, left_s=left_s, silent_s=silent_s)

    def instance(self, state, *, ago_s=5):
        with self.transaction() as connection:
            _, name = make_instance(connection)
        self.write(WATCHED, name=name)
        self.write(HEALTH, name=name, state=state, ago_s=ago_s)

    def alert(self, *, over=False):
        incident = self.write(INCIDENT, kind="down", over=over)
        return self.write(ALERT, incident=incident, dedupe=f"{incident}:down")

    def delivery(self, alert, state, *, late_s=0, enabled=True):
        self.write(DELIVERY, alert=alert, target=self.write(TARGET, enabled=enabled), state=state, late_s=late_s)

    def said(self):
        """`zelador_instances healthy` → value; asked anew."""
        self._clock.advance(seconds=5)
        samples = [sample for family in self._gauges.collect() for sample in family.samples]
        return {" ".join([one.name, *one.labels.values()]): one.value for one in samples}

    def of(self, name):
        """By their label, without the zeros."""
        said = {key.split()[1]: value for key, value in self.said().items() if key.startswith(f"{name} ")}
        return {word: value for word, value in said.items() if value}


@pytest.fixture
def table(engine, clock):
    return Table(engine, clock)


def test_where_no_monitor_ever_ran_nothing_is_said(table):
    assert table.said() == {}


def test_one_that_leads_and_has_not_looked_yet_says_only_that(table):
    table.led(silent_s=None)
    assert table.said() == {"zelador_monitor_leading": 1}


def test_a_lease_that_ran_out_is_nobody_s(table):
    table.led(left_s=-1, silent_s=400)
    said = table.said()
    assert said["zelador_monitor_leading"] == 0
    assert 400 <= said["zelador_monitor_last_tick_age_seconds"] < 460


def test_every_state_is_said_also_where_nobody_is_in_it(table):
    table.led()
    for state in ("healthy", "healthy", "error"):
        table.instance(state)
    said = table.said()
    states = {state: said[f"zelador_instances {state}"] for state in HealthState}
    assert states == dict.fromkeys(HealthState, 0) | {"healthy": 2, "error": 1}


def test_what_nobody_has_looked_at_for_three_intervals_is_unknown(table):
    table.led(silent_s=200)
    table.instance("healthy", ago_s=120)
    table.instance("healthy", ago_s=181)
    assert table.of("zelador_instances") == {"healthy": 1, "unknown": 1}


def test_who_is_not_under_watch_is_not_counted(table):
    table.led()
    table.instance("healthy")
    table.write("UPDATE whatsapp_instances SET deleted_at = now()")
    assert table.of("zelador_instances") == {}


def test_a_gateway_that_nobody_has_looked_at_is_left_out(table):
    table.led()
    assert not [name for name in table.said() if name.startswith("zelador_gateway")]
    table.write("INSERT INTO gateway_health (name, state) VALUES ('evolution', 'down')")
    assert table.of("zelador_gateway") == {"down": 1}


def test_open_incidents_are_counted_by_kind_and_a_kind_we_do_not_know_is_other(table):
    table.led()
    for kind, over in (("down", False), ("down", True), ("gateway_mass", False), ("of another version", False)):
        table.write(INCIDENT, kind=kind, over=over)
    assert table.of("zelador_incidents_open") == {"down": 1, "gateway_mass": 1, "other": 1}


def test_deliveries_are_those_of_open_incidents_and_all_that_are_pending(table):
    table.led()
    lasting, over = table.alert(), table.alert(over=True)
    for alert, state in ((lasting, "sent"), (lasting, "failed"), (over, "sent"), (over, "failed"), (over, "pending")):
        table.delivery(alert, state)
    assert table.of("zelador_alert_deliveries") == {"sent": 1, "failed": 1, "pending": 1}


def test_an_alert_is_late_where_it_should_have_left(table):
    table.led()
    alert = table.alert()
    table.delivery(alert, "pending", late_s=-3600)  # quiet hours
    table.delivery(alert, "pending", late_s=500, enabled=False)
    table.delivery(alert, "sent", late_s=900)
    assert table.said()["zelador_alert_late_seconds"] == 0
    table.delivery(alert, "pending", late_s=400)
    assert 400 <= table.said()["zelador_alert_late_seconds"] < 460


def test_while_the_database_is_away_nothing_is_said_and_nothing_known_of_the_monitor(clock):
    def away():
        raise StorageUnavailable("The database is not available")

    assert list(Gauges(of_fleet(away, MINUTE), clock).collect()) == []
    assert PulseReader(away, MINUTE).beat() is Beat.UNKNOWN
