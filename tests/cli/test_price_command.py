"""`skylift price`, with no cloud to ask: what it assumes is said, and everything else is told."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from skylift import catalogue
from skylift.cli import price as command
from skylift.cli.main import perform
from skylift.client.errors import Unreachable
from skylift.client.price.history import History, PastRun


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "SKYLIFT_ON"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SKYLIFT_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "job.py").write_text("print(1)\n")


def told(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert perform(["price", "--json", *words]) == 0
    return dict(json.loads(capsys.readouterr().out))


def test_without_a_cloud_it_says_what_it_assumes(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert perform(["price", "job.py", "--its", "own"]) == 0
    out, err = capsys.readouterr()
    assert err == "The cloud on this machine is down, so its jobs cannot be looked at.\n"
    assert not (tmp_path / "home").exists()
    assert out.startswith(
        "job.py on t3.small (the default), us-east-1\nassumed: one run a day: 1h a run, 30.00 h a month\n"
    )
    for row in ("on-demand", "spot", "reserved 1y"):
        assert f"\n{row}" in out
    assert "\nNo source has a price for: reserved 3y, savings plan, dedicated instance," in out
    assert "unknown" not in out
    dates = [line.split()[-1] for line in out.splitlines() if line.startswith("on-demand")]
    assert dates == [catalogue.sources()["us-east-1", "on-demand"].date]
    assert "\nTake on-demand" in out
    assert max(map(len, out.splitlines()[3:])) <= 80
    assert "commitment" not in out


def test_boto3_is_not_loaded_for_nothing() -> None:
    code = (
        "import sys; from skylift.cli.main import perform; code = perform(['price', 'job.py']);"
        "print(code, sorted({'boto3', 'botocore', 'asyncssh', 'aiohttp'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 []"


def test_what_is_said_counts(capsys: pytest.CaptureFixture[str]) -> None:
    found = told(capsys, "--type", "t3.xlarge", "--time", "2h", "--hours", "700", "--region", "us-west-2", "job.py")
    assert found["notes"] == []  # nothing had to be looked up
    assert (found["instance_type"], found["why_type"], found["region"]) == ("t3.xlarge", "as said", "us-west-2")
    assert (found["billed_seconds"], found["hours_a_month"]) == (7200, 700)
    usual = found["offers"][0]
    hourly = catalogue.on_demand("t3.xlarge", "us-west-2")
    assert hourly is not None
    assert (usual["run_usd"], usual["month_usd"]) == pytest.approx((hourly * 2, hourly * 700))
    chosen = told(capsys, "--cpu", "4", "--memory", "16GiB", "job.py")
    assert chosen["why_type"] == "the cheapest for --cpu 4 --memory 16GiB"


def test_the_type_that_a_run_would_have(capsys: pytest.CaptureFixture[str]) -> None:
    header = "# /// script\n# [tool.skylift]\n# type = 'c7i.large'\n# out = ['x']\n# max-time = '2h'\n# ///\n"
    Path("with.py").write_text(header)
    assert told(capsys, "with.py")["instance_type"] == "c7i.large"
    assert told(capsys, "--cpu", "8", "with.py")["why_type"] == "the cheapest for --cpu 8"


def test_history_decides(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    runs = tuple(PastRun(f"j{n}", ("python", "job.py", "x"), "m7i.large", n, 7200.0) for n in range(200))
    monkeypatch.setattr(command, "_look_back", lambda on: (History(runs), "eu-west-1", []))
    found = told(capsys, "job.py")
    assert (found["instance_type"], found["why_type"]) == ("m7i.large", "as in its last run")
    assert (found["region"], found["billed_seconds"], found["hours_a_month"]) == ("eu-west-1", 7200, 400)
    assert found["basis"]["runs"] == 200
    assert told(capsys, "--hours", "5", "job.py")["hours_a_month"] == 5


def test_a_commands_own_words_belong_to_it(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    runs = tuple(PastRun("x", ("make", word), "t3.small", 0, 3600.0) for word in ("report", "test", "test"))
    monkeypatch.setattr(command, "_look_back", lambda on: (History(runs), None, []))
    assert told(capsys, "--", "make", "report")["basis"]["runs"] == 1
    assert told(capsys, "--", "make")["basis"]["runs"] == 3


def test_an_account_that_cannot_be_reached(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(on: str | None) -> None:
        raise Unreachable("sts does not answer")

    monkeypatch.setattr("skylift.place.settings.settings_of_running", fail)
    found = told(capsys, "job.py")
    assert found["notes"] == ["The account's jobs cannot be looked at: sts does not answer"]
    assert found["basis"]["text"] == "assumed: one run a day"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["missing.py"], "missing.py"),
        (["--cpu", "100000", "job.py"], "no instance type"),
        (["--region", "mars-1", "job.py"], "no prices of mars-1"),
        (["--time", "soon", "job.py"], "--time 'soon'"),
        (["--hours", "-1", "job.py"], "-1"),
        (["--hours", "inf", "job.py"], "--hours inf"),
        (["--hours", "nan", "job.py"], "--hours nan"),
        (["--type", "big", "job.py"], "--type 'big'"),
        (["-q", "job.py"], "-q"),
        (["--on", "mars", "job.py"], "--on 'mars'"),
    ],
)
def test_what_is_wrong_is_2(capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    assert perform(["price", *words]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err
    assert "Traceback" not in err


def test_a_commitment_is_spoken_of_where_it_may_pay(capsys: pytest.CaptureFixture[str]) -> None:
    assert perform(["price", "--hours", "600", "--time", "1h", "--type", "m5.large", "job.py"]) == 0
    out = capsys.readouterr().out
    assert "A commitment is paid for all 730 h of a month." in out
    assert "\nTake reserved, 1 year" in out


def test_a_type_without_a_price(capsys: pytest.CaptureFixture[str]) -> None:
    assert perform(["price", "--type", "c8ib.large", "job.py"]) == 0
    assert "OPTION" not in capsys.readouterr().out
    found = told(capsys, "--type", "c8ib.large", "job.py")
    assert all(each["run_usd"] is None for each in found["offers"])
    assert "nothing can be compared" in found["advice"]


def test_a_type_that_there_is_not(capsys: pytest.CaptureFixture[str]) -> None:
    assert perform(["price", "--type", "t3.smal", "job.py"]) == 2
    assert "Near it: t3.small" in capsys.readouterr().err


def test_figures_of_the_users_own_count(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = catalogue.refreshed_folder(tmp_path / "home" / "cache") / "prices"
    folder.mkdir(parents=True)
    rows = ["kind,on-demand,spot", "date,2026-11-01,2026-11-02", "source,me,me", "t3.small,0.5,0.25"]
    (folder / "us-east-1.csv").write_text("\n".join(rows) + "\n")
    try:
        usual, spot, *_ = told(capsys, "--type", "t3.small", "--time", "1h", "--hours", "10", "job.py")["offers"]
    finally:
        catalogue.use(None)
    assert (usual["run_usd"], usual["as_of"]) == (0.5, "2026-11-01")
    assert (spot["run_usd"], spot["as_of"], spot["pays_from_hours_a_month"]) == (0.25, "2026-11-02", 0)


def test_every_option_with_a_value_is_known() -> None:
    import typer

    app = typer.Typer()
    command.register(app)
    found: Any = typer.main.get_command(app)
    options = [each for each in found.params if each.param_type_name == "option"]
    with_values = {name for each in options if not each.is_flag for name in each.opts} - {"-m", "--module"}
    assert with_values == command._VALUES
