"""The monitor's invariants hold for any history: bursts, flaps, pauses, reports, a gateway that freezes everything."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.policy.judge import judge
from tests.unit.histories import PACES, WEIGHTED, history
from tests.unit.monitor_laws import ASKING, LAWS, held

segments = st.tuples(st.sampled_from(WEIGHTED), st.integers(1, 12), st.sampled_from(PACES), st.integers(0, 2**30))
histories = st.lists(segments, min_size=1, max_size=8)


@pytest.mark.parametrize("law", LAWS)
def test_law(law):
    @settings(max_examples=20 if law in ASKING else 60)
    @given(histories)
    def holds(drawn):
        held(law, judge, history(drawn))

    holds()
