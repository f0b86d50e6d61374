"""A job's states: each word of a server is one of them, and goes on to users and programs as it was."""

from __future__ import annotations

import json

import pytest

from skylift.client.errors import RecordDamaged
from skylift.client.job.server_record import parse_status
from skylift.contract.states import ENDED, LISTED, UNDER_WAY, State


@pytest.mark.parametrize("state", [*UNDER_WAY, *ENDED])
def test_a_server_says_it(state: State) -> None:
    told = json.dumps({"state": state, "final": state in ENDED}).encode()
    found = parse_status("status.json", told).state
    assert found is state
    assert json.dumps({"state": found}) == f'{{"state": "{state.value}"}}'
    assert f"{found}" == state.value


@pytest.mark.parametrize("state", sorted({*State} - {*UNDER_WAY, *ENDED}))
def test_no_server_says_it(state: State) -> None:
    with pytest.raises(RecordDamaged):
        parse_status("status.json", json.dumps({"state": state, "final": False}).encode())


def test_ps_lists_every_state_but_those_of_a_run_that_was_left_or_never_began() -> None:
    assert {*LISTED} == {*State} - {State.DETACHED, State.NOT_STARTED}
    assert len(LISTED) == len({*LISTED})
