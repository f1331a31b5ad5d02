"""A thousand instances on one gateway: its trouble is told once, and is nobody's fault."""

import pytest

from tests.flow.ward import Ward

MANY = 1_000


@pytest.fixture
def variables():
    return {"BREAKER_OPEN_MS": "1"}


@pytest.fixture
def ward(system, sandbox, monitor_clock, rows):
    return Ward(system, sandbox, monitor_clock, rows)


@pytest.fixture
def fleet(ward):
    """Connected, and found well."""
    names = ward.fill(MANY)
    ward.check(12)
    assert ward.states() == {"healthy": MANY}
    return names


def test_a_dead_gateway_is_one_alert_and_one_recovery(ward, fleet):
    ward.sandbox.stop()
    ward.settle(900)
    assert (ward.alerts(), ward.attempts()) == (["gateway_down"], [])
    ward.sandbox.start()
    ward.fill_again(fleet)
    ward.settle(900)
    assert (ward.alerts(), ward.attempts()) == (["gateway_down", "gateway_recovered"], [])
    assert ward.states() == {"healthy": MANY}


def test_one_call_serves_them_all(ward, fleet, sandbox):
    sandbox.log.clear()
    ward.check(5)
    assert ward.asked("/") == ["GET /metrics"] * 5


def test_many_that_fall_together_are_one_trouble(ward, fleet):
    for name in fleet[: MANY * 2 // 5]:
        ward.fall(name)
    ward.settle(240)
    assert (ward.alerts(), ward.attempts()) == (["gateway_mass"], [])
    assert ward.rows("SELECT facts ->> 'affected' AS n FROM alerts") == [{"n": str(MANY * 2 // 5)}]
    (step,) = ward.rows("SELECT facts FROM incident_steps WHERE code = 'fell'")
    assert set(step["facts"]["instances"]) <= set(fleet[: MANY * 2 // 5])
    for name in fleet[: MANY * 2 // 5]:
        ward.rise(name)
    ward.settle(900)
    assert ward.alerts() == ["gateway_mass", "gateway_recovered"]
    assert len(ward.attempts()) <= 50 * 15  # a twentieth of them a minute, at most
    assert ward.states() == {"healthy": MANY}
