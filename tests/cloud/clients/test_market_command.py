"""`skylift cloud spot-price`, `capacity`, `quota` and `interrupt` against a cloud."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from serverless_cloud import ACCOUNT, REGION, Cloud
from typer.testing import CliRunner, Result

from skylift.cli.main import make_app, perform
from skylift.cloud.state.data import Endpoint
from skylift.cloud.state.home import RootKey
from skylift.place import control

Skylift = Callable[..., Result]


@pytest.fixture
def skylift(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Skylift:
    where = Endpoint(cloud.url, REGION, ACCOUNT, 1, "", "127.0.0.1")
    monkeypatch.setattr(control, "running_cloud", lambda _home: (where, RootKey(cloud.key, cloud.secret)))
    monkeypatch.setenv("NO_PROXY", "*")
    return lambda *arguments: CliRunner().invoke(make_app("cloud"), ["cloud", *arguments])


def test_a_price_is_set_and_shown(skylift: Skylift) -> None:
    done = skylift("spot-price", "t3.micro", "0.004", "--zone", "us-east-1b")
    assert done.exit_code == 0
    heading, line = done.stdout.splitlines()
    assert heading.split() == "INSTANCE TYPE AVAILABILITY ZONE SPOT PRICE EFFECTIVE FROM".split()
    assert line.split()[:3] == ["t3.micro", "us-east-1b", "0.004000"]
    assert skylift("spot-price", "t3.micro", "0.5", "--in", "10m").exit_code == 0
    assert len(json.loads(skylift("spot-price", "--json").stdout)) == 4
    skylift("spot-price", "t3.micro", "--reset")
    assert json.loads(skylift("spot-price", "--json").stdout) == []


def test_room_and_quotas_are_set_and_shown(skylift: Skylift) -> None:
    skylift("capacity", "*", "0", "--spot")
    shown = json.loads(skylift("capacity", "--json").stdout)
    assert {(one["InstanceType"], one["MarketType"], one["InstanceCount"], one["InUse"]) for one in shown} == {
        ("*", "spot", 0, 0)
    }
    assert len(shown) == 3
    heading, _ = skylift("quota", "standard", "8", "--spot").stdout.splitlines()
    assert heading.split() == "INSTANCE CLASS MARKET TYPE VCPUS IN USE".split()
    assert json.loads(skylift("quota", "--json").stdout) == [
        {"InstanceClass": "standard", "MarketType": "spot", "VCpus": 8, "InUse": 0}
    ]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("interrupt", "i-0123456789abcdef0"), 2, "InvalidInstanceID.NotFound"),
        (("interrupt", "i-1", "--in", "1m", "--rebalance"), 2, "exclude each other"),
        (("interrupt", "nightly"), 2, "No job 'nightly' has a server in this cloud"),
        (("interrupt", "--in", "1m"), 2, "--in needs an INSTANCE"),
        (("interrupt", "i-1", "--in", "soon"), 2, "not a duration"),
        (("spot-price", "--reset"), 2, "TYPE is missing"),
        (("spot-price", "t3.micro", "free"), 2, "Invalid value 'free' for spotPrice"),
        (("capacity", "x9.large", "1"), 2, "Invalid value 'x9.large' for InstanceType"),
        (("quota", "large", "1"), 2, "There is no quota 'large'"),
    ],
)
@pytest.mark.usefixtures("skylift")
def test_what_cannot_be_is_said(
    arguments: tuple[str, ...], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert perform(["cloud", *arguments]) == code
    assert said in capsys.readouterr().err
