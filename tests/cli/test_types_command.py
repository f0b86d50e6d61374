"""`skylift types`: a table for people, objects for programs, and what cannot be is 2."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.cells import cell_len
from support.on_terminal import shown_on_terminal

from skylift import catalogue
from skylift.cli.main import perform


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SKYLIFT_HOME", str(tmp_path))
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)


def lines(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    assert perform(["types", *words]) == 0
    return capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("sort", ["price", "price-per-vcpu", "price-per-gib"])
@pytest.mark.parametrize("words", [[], ["--spot"], ["accelerated"], ["storage-optimized"], ["--region", "eu-west-1"]])
def test_the_whole_table_fits_a_terminal(monkeypatch: pytest.MonkeyPatch, sort: str, words: list[str]) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("COLUMNS", raising=False)
    shown = shown_on_terminal(80, lambda: perform(["types", "--all", "--sort", sort, *words]))
    head, *rows = re.sub(r"\x1b\[\d*m", "", shown).partition("USD an hour")[0].splitlines()
    assert head.startswith("TYPE")
    assert len(rows) > 30
    assert max(map(cell_len, [head, *rows])) <= 80


def test_a_pipe_has_every_column(capsys: pytest.CaptureFixture[str]) -> None:
    head, *_ = lines(capsys, "--all", "--spot", "accelerated")
    assert head.split() == ["TYPE", "VCPU", "GIB", "ARCH", "NETWORK", "DISK", "GPU", "USD/H", "SPOT"]


def test_objects(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads("\n".join(lines(capsys, "--json")))
    assert len(found) >= 300
    assert all(each["current"] for each in found)
    small = next(each for each in found if each["type"] == "t3.small")
    assert small["usd_per_hour"] == 0.0208
    assert (small["vcpus"], small["memory_mib"], small["architecture"]) == (2, 2048, "x86_64")
    assert small["burstable"]
    assert small["usd_per_vcpu_hour"] == 0.0104
    year = catalogue.reserved("t3.small", "us-east-1", 1, "no-upfront")
    assert [
        each["usd_per_hour"] for each in small["commitments"] if (each["kind"], each["years"]) == ("reserved", 1)
    ] == ([] if year is None else [year])
    accelerated = next(each for each in found if each["type"] == "g4dn.xlarge")
    assert accelerated["accelerators"]["name"] == "T4"
    # Unknown is null, and stands last.
    prices = [each["usd_per_hour"] for each in found]
    assert prices == [*sorted(each for each in prices if each is not None), *[each for each in prices if each is None]]


def test_what_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["memory-optimized", "--cpu", "8", "--memory", "64GiB", "--arch", "arm64", "--disk", "100GB", "--json"]
    found = json.loads("\n".join(lines(capsys, *words)))
    assert found
    for each in found:
        assert each["vcpus"] >= 8
        assert each["memory_mib"] >= 65536
        assert (each["architecture"], each["category"]) == ("arm64", "memory-optimized")
        assert each["disk_gb"] >= 100
    quick = json.loads("\n".join(lines(capsys, "--network", "100Gbps", "--json")))
    assert all(each["network_baseline_gbps"] >= 100 for each in quick)


def test_each_region_has_its_own_prices(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for region in catalogue.priced_regions():
        (found,) = [
            each for each in json.loads("\n".join(lines(capsys, "m5", "--json", "--region", region)))
            if each["type"] == "m5.large"
        ]  # fmt: skip
        assert (found["region"], found["usd_per_hour"]) == (region, catalogue.on_demand("m5.large", region))
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    assert perform(["types"]) == 0
    assert "in eu-west-1: on-demand as of 20" in capsys.readouterr().err
    monkeypatch.setenv("AWS_REGION", "sa-east-1")
    assert perform(["types"]) == 0
    assert "has no prices of sa-east-1: these are those of us-east-1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said", "advice"),
    [
        (["--cpu", "9999"], "no instance type for --cpu 9999", "The nearest is "),
        (["--memory", "16"], "--memory '16' is not a size", "16GiB"),
        (["--region", "sa-east-1"], "--region: ", "us-east-1"),
        (["--sort", "name"], "--sort 'name'", "price-per-vcpu"),
        (["meory-optimized"], "called 'meory-optimized'", "memory-optimized"),
    ],
)
def test_what_cannot_be(capsys: pytest.CaptureFixture[str], words: list[str], said: str, advice: str) -> None:
    assert perform(["types", *words]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert said in told.err
    assert advice in told.err


def test_no_cloud_is_asked() -> None:
    code = (
        "import sys; from skylift.cli.main import perform; code = perform(['types', '--json']);"
        "print(code, sorted({'boto3', 'botocore', 'asyncssh', 'aiohttp', 'rich', 'socket'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 []"


def test_a_refresh_without_a_way_to_aws_says_so_and_shows_what_there_was(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "x")
    assert perform(["types", "--refresh", "--region", "us-east-1", "m7i"]) == 0
    told = capsys.readouterr()
    assert "m7i.large" in told.out
    for what in ("types", "prices", "spot prices"):
        assert f"No new {what} of us-east-1: " in told.err
    assert f"on-demand as of {catalogue.sources()['us-east-1', 'on-demand'].date}, " in told.err
    assert "days old" in told.err and "New ones: --refresh." in told.err


def test_a_refresh_without_a_region_is_told_how_to_say_one(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    assert perform(["types", "--refresh"]) == 2
    assert "AWS_DEFAULT_REGION" in capsys.readouterr().err
