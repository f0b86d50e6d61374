"""`skylift console --on aws`, where AWS is the endpoint with its services and no servers behind it."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from browser import Tab, chromium
from playwright.sync_api import Browser, expect
from serverless_cloud import REGION, Cloud, serverless_cloud
from shown_console import Console, check_nothing_wrong

MANY = 1000


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with serverless_cloud(tmp_path_factory.mktemp("account")) as made:
        yield made


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def console(account: Cloud, home: Path) -> Iterator[Console]:
    with console_on_aws(account, home) as made:
        yield made


@contextmanager
def console_on_aws(account: Cloud, home: Path) -> Iterator[Console]:
    words = [sys.executable, "-m", "skylift.cli.main", "console", "--no-browser", "--on", "aws", "--region", REGION]
    environment = {**account.environment(home), "SKYLIFT_HOME": str(home / "skylift")}

    def another() -> str:
        return subprocess.run(words, capture_output=True, text=True, check=True, env=environment, cwd=home).stdout

    process = subprocess.Popen(words, stdout=subprocess.PIPE, env=environment, cwd=home)
    try:
        yield Console(process, another)
    finally:
        process.terminate()
        process.communicate()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as opened:
        yield opened


@pytest.fixture(scope="module")
def tab(browser: Browser, console: Console) -> Tab:
    made = Tab(browser)
    made.page.goto(console.link())
    return made


@pytest.fixture(autouse=True)
def all_well(tab: Tab, console: Console) -> Iterator[None]:
    yield
    check_nothing_wrong(tab, console)


@pytest.fixture(scope="module")
def many(account: Cloud) -> list[str]:
    """They are pending forever: nobody boots them."""
    ec2: Any = account.client("ec2")
    image = ec2.describe_images()["Images"][0]["ImageId"]
    found: list[str] = []
    for number in range(0, MANY, 100):
        made = ec2.run_instances(
            ImageId=image,
            InstanceType="t3.micro",
            MinCount=100,
            MaxCount=100,
            TagSpecifications=[{"ResourceType": "instance", "Tags": [{"Key": "batch", "Value": f"of-{number}"}]}],
        )
        found += [each["InstanceId"] for each in made["Instances"]]
    return found


def test_a_thousand_instances_are_scrolled_filtered_and_opened(tab: Tab, console: Console, many: list[str]) -> None:
    """The page has as many elements as are seen, whatever there is."""
    page = tab.page
    page.goto(f"http://{console.host}/instances")
    expect(page.locator(".count")).to_have_text(f"{MANY} instances, 0 running")
    assert page.evaluate("document.querySelectorAll('*').length") < 3000
    rows = page.locator(".ag-center-cols-container .ag-row")
    last = page.locator(f".ag-row[row-index='{MANY - 1}']")
    page.locator(".ag-body-viewport").evaluate("(body) => (body.scrollTop = body.scrollHeight)")
    expect(last.first).to_be_visible()
    assert page.evaluate("document.querySelectorAll('*').length") < 3000
    page.get_by_label("Filter", exact=True).fill(many[512])
    expect(rows).to_have_count(1)
    # With the keyboard alone: a cell without a link opens what its row is about.
    rows.locator("[col-id=state]").click()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(f"/instances/{many[512]}$"))
    expect(page.locator(".state").first).to_have_text("pending")
