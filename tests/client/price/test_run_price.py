"""What a run has cost: a few words, and figures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from skylift import catalogue
from skylift.client.job.outcome import Outcome
from skylift.client.job.settings import NewestImage, Settings
from skylift.client.price.run_price import cost_of, with_price
from skylift.client.text.money import spell_dollars
from skylift.contract.map_progress import ServerTime

OUTCOME = Outcome(
    "a-job", "succeeded", 0, "", instance_type="t3.small",
    booted="2026-01-31T12:00:00.000Z", ended="2026-01-31T12:30:00.000Z",
)  # fmt: skip


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings("us-east-1", tmp_path, NewestImage("x", ()), caller_address=lambda: "203.0.113.7")


def test_the_words(settings: Settings) -> None:
    price = with_price(OUTCOME, settings).price
    assert price is not None
    assert price.in_short() == "≈ $0.01 (spot $0.0044)"
    local = with_price(OUTCOME, replace(settings, billed=False)).price
    assert local is not None
    assert local.in_short() == "≈ $0.01 on AWS (spot $0.0044)"
    assert (price.as_json()["charged"], local.as_json()["charged"]) == (True, False)
    told = with_price(OUTCOME, settings).as_json()["price"]
    assert (told["region"], told["billed_seconds"]) == ("us-east-1", 1800)
    usual = told["offers"][0]
    assert (usual["option"], usual["hourly_usd"], usual["run_usd"]) == ("on-demand", 0.0208, 0.0104)
    assert {each["option"] for each in told["offers"]} == {
        "on-demand", "spot", "reserved", "savings-plan", "dedicated-instance", "dedicated-host",
    }  # fmt: skip


def test_a_map_costs_what_all_its_servers_cost(settings: Settings) -> None:
    hour = ServerTime("t3.small", "on-demand", 2, 3600.0)
    price = with_price(OUTCOME, settings, [hour]).price
    assert price is not None
    assert price.in_short() == "≈ $0.03 for all servers"
    told = price.as_json()
    assert told["other_servers"] == {"servers": 2, "seconds": 3600.0, "usd": 0.0208}
    assert told["total_usd"] == 0.0312
    # Each of them is billed for a minute.
    assert cost_of([hour._replace(servers=6, seconds=1.0)], "us-east-1") == pytest.approx(0.0208 / 10)
    unknown = with_price(OUTCOME, settings, [hour, hour._replace(instance_type="x9.large")]).price
    assert unknown is not None
    assert (unknown.in_short(), unknown.total) == ("", None)
    alone = with_price(OUTCOME, settings).as_json()["price"]
    assert (alone["other_servers"], alone["total_usd"]) == (None, 0.0104)


def test_a_run_on_spot(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "spot", lambda name, region: None)
    spot = replace(OUTCOME, market="spot", attempts=2, program_seconds=3600.0)
    price = with_price(spot, settings).price
    assert price is not None
    assert price.in_short() == "$0.02 at most"
    monkeypatch.setattr(catalogue, "spot", lambda name, region: 0.01)
    price = with_price(spot, settings).price
    assert price is not None
    assert price.in_short() == "≈ $0.01 on spot (on demand $0.02)"
    assert price.as_json()["market"] == "spot"


def test_no_price_is_made_up(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for market in ("on-demand", "spot"):
        price = with_price(replace(OUTCOME, instance_type="x9.large", market=market), settings).price
        assert price is not None
        assert price.in_short() == ""
    monkeypatch.setattr(catalogue, "spot", lambda name, region: None)
    price = with_price(OUTCOME, settings).price
    assert price is not None
    assert price.in_short() == "≈ $0.01"
    for ended in (replace(OUTCOME, booted=None), replace(OUTCOME, ended=None)):
        assert with_price(ended, settings).price is None


@pytest.mark.parametrize(
    ("usd", "text"),
    [
        (0.0, "$0.00"), (0.00000312, "$0.000003"), (0.0000867, "$0.00009"), (0.000347, "$0.0003"), (0.0044, "$0.0044"),
        (0.0104, "$0.01"), (0.5, "$0.50"), (123.456, "$123.46"),
    ],
)  # fmt: skip
def test_dollars(usd: float, text: str) -> None:
    assert spell_dollars(usd) == text
