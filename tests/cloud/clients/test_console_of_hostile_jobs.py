"""What a job has left, on the console's screens: results and objects of any names, in any number, with any content."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from account_console import console_on_aws
from playwright.sync_api import expect
from serverless_cloud import ACCOUNT, REGION, Cloud, serverless_cloud
from support.browser import Tab
from support.shown_console import Console

from skylift.client.job.record import JobKeys, bucket_name

# It boots nothing; its browser is installed with what servers need.
pytestmark = [pytest.mark.real, pytest.mark.usefixtures("all_well")]

HALF = "caf\udce9 \ud800.txt"
"""A name of bytes that are no text, and half a character, as JSON can have it."""


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with serverless_cloud(tmp_path_factory.mktemp("account")) as made:
        yield made


@pytest.fixture(scope="module")
def console(account: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    with console_on_aws(account, tmp_path_factory.mktemp("home")) as made:
        yield made


@pytest.fixture(scope="module")
def s3(account: Cloud) -> Any:
    made = account.client("s3")
    made.create_bucket(Bucket=bucket_name(ACCOUNT, REGION))
    return made


def write_job(s3: Any, name: str, results: list[str]) -> None:
    """As a server may report it: a reason with half a character, and these results."""
    now = time.time()
    record = {"version": 1, "job": name, "python": True, "created": now, "deadline": now + 3600, "outputs": ["**"]}
    status = {"state": "running", "detail": HALF, "reason": HALF, "started": "2026-12-01T10:00:00.000Z"}
    sent = [{"path": each, "size": 1, "sha256": "0" * 64} for each in results]
    prefix = JobKeys(name)
    for key, content in ((prefix.record, record), (prefix.status, status), (prefix.manifest, {"results": sent})):
        s3.put_object(Bucket=bucket_name(ACCOUNT, REGION), Key=key, Body=json.dumps(content).encode())


def test_names_and_reasons_that_are_no_text_are_shown(tab: Tab, console: Console, s3: Any) -> None:
    page = tab.page
    write_job(s3, "half", ["caf\udce9.txt", "whole.txt"])
    tab.go(f"http://{console.host}/jobs/half?tab=results")
    rows = page.get_by_role("table", name="Results").locator("tbody tr")
    expect(rows).to_have_count(2)
    expect(rows.first).to_contain_text("caf")
    expect(rows.last).to_contain_text("whole.txt")
    page.get_by_role("tab", name="Details").click()
    expect(page.locator("dd", has_text="caf")).to_be_visible()


def test_any_number_of_results_is_shown_by_parts(tab: Tab, console: Console, s3: Any) -> None:
    """A page has as many rows as somebody looks at. The console, and all of its tabs, wait for each of them."""
    page = tab.page
    write_job(s3, "many", [f"{number:05d}.txt" for number in range(20_000)])
    tab.go(f"http://{console.host}/jobs/many?tab=results")
    rows = page.get_by_role("table", name="Results").locator("tbody tr")
    expect(page.get_by_text("There are 20,000; the first 200 are shown.")).to_be_visible()
    expect(rows).to_have_count(200)
    page.get_by_role("button", name="Show more").click()
    expect(page.get_by_text("There are 20,000; the first 400 are shown.")).to_be_visible()
    expect(rows).to_have_count(400)
    expect(rows.last).to_contain_text("00399.txt")


@pytest.mark.parametrize(
    ("name", "content", "cells"),
    [("returns.csv", b"a\rb,c\r\nd\n", ["a", "b", "c", "d"]), ("wide.csv", b"," * 65_000, [""] * 50)],
)
def test_any_table_is_looked_at(
    tab: Tab, console: Console, s3: Any, name: str, content: bytes, cells: list[str]
) -> None:
    page = tab.page
    bucket = f"with-{name}"
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key=name, Body=content)
    tab.go(f"http://{console.host}/s3/{bucket}")
    page.get_by_role("button", name=f"Preview {name}").click()
    preview = page.get_by_role("group", name=name)
    expect(preview).to_be_visible()
    assert [str(each.text_content()) for each in preview.locator("td").all()] == cells


def test_a_name_that_every_object_of_javascript_has_is_a_row_like_others(tab: Tab, console: Console, s3: Any) -> None:
    """The row went when any other did: whoever named a user so had one that the console did not show."""
    page = tab.page
    for name in ("constructor", "first"):
        s3.create_bucket(Bucket=name)
    tab.go(f"http://{console.host}/s3")
    named = page.get_by_role("link", name="constructor")
    expect(named).to_be_visible()
    s3.delete_bucket(Bucket="first")
    expect(page.get_by_role("link", name="first")).to_have_count(0)
    expect(named).to_be_visible()
