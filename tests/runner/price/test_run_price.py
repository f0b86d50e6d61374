"""What a run has cost: one line, and figures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from skylift import catalogue
from skylift.runner.job.outcome import Outcome
from skylift.runner.job.settings import NewestImage, Settings
from skylift.runner.price.run_price import with_price

OUTCOME = Outcome(
    "a-job", "succeeded", 0, "", instance_type="t3.small",
    booted="2026-01-31T12:00:00.000Z", ended="2026-01-31T12:30:00.000Z",
)  # fmt: skip


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings("us-east-1", tmp_path, NewestImage("x", ()), caller_address=lambda: "203.0.113.7")


def test_the_line(settings: Settings) -> None:
    price = with_price(OUTCOME, settings).price
    assert price is not None
    assert price.spell().startswith("Price: 0.0104 USD on demand (1800 s x 0.0208/h, t3.small, us-east-1, 20")
    local = with_price(OUTCOME, replace(settings, billed=False)).price
    assert local is not None
    assert local.spell().startswith("On AWS: 0.0104 USD")
    assert (price.as_json()["charged"], local.as_json()["charged"]) == (True, False)
    told = with_price(OUTCOME, settings).as_json()["price"]
    assert (told["region"], told["billed_seconds"]) == ("us-east-1", 1800)
    usual = told["offers"][0]
    assert (usual["option"], usual["hourly_usd"], usual["run_usd"]) == ("on-demand", 0.0208, 0.0104)
    assert {each["option"] for each in told["offers"]} == {
        "on-demand", "spot", "reserved", "savings-plan", "dedicated-instance", "dedicated-host",
    }  # fmt: skip


def test_every_option_is_told_or_said_to_be_unknown(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    price = with_price(OUTCOME, settings).price
    assert price is not None
    for word in ("spot", "reserved", "savings plan", "dedicated instance", "dedicated host"):
        assert word in price.spell()
    monkeypatch.setattr(catalogue, "spot", lambda name, region: 0.01)
    monkeypatch.setattr(catalogue, "reserved", lambda name, region, years, payment: 0.02 / years)
    price = with_price(OUTCOME, settings).price
    assert price is not None
    monkeypatch.setattr(
        catalogue, "sources", lambda: {("us-east-1", "spot"): catalogue.Source("2020-02-02", "somebody")}
    )
    price = with_price(OUTCOME, settings).price
    assert price is not None
    assert "; spot 0.005000 (2020-02-02), reserved 1y 0.0100, reserved 3y 0.003333" in price.spell()
    assert "reserved" not in price.spell().partition("unknown")[2]


def test_a_run_on_spot(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(catalogue, "spot", lambda name, region: None)
    spot = replace(OUTCOME, market="spot", attempts=2, program_seconds=3600.0)
    price = with_price(spot, settings).price
    assert price is not None
    assert price.spell().startswith("Price: unknown on spot, as it ran; 0.0208 USD on demand (3600 s x 0.0208/h")
    assert "spot" not in price.spell().partition("unknown: ")[2]
    monkeypatch.setattr(catalogue, "spot", lambda name, region: 0.01)
    price = with_price(spot, settings).price
    assert price is not None
    assert price.spell().startswith("Price: 0.0100 on spot, as it ran; 0.0208 USD on demand")
    assert price.as_json()["market"] == "spot"


def test_no_price_is_made_up(settings: Settings) -> None:
    price = with_price(replace(OUTCOME, instance_type="x9.large"), settings).price
    assert price is not None
    assert price.spell() == "Price: unknown for x9.large in us-east-1."
    # Another region's figures stand in under their own name.
    price = with_price(OUTCOME, replace(settings, region="sa-east-1")).price
    assert price is not None
    assert "us-east-1" in price.spell()
    for ended in (replace(OUTCOME, booted=None), replace(OUTCOME, ended=None)):
        assert with_price(ended, settings).price is None
