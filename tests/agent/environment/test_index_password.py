"""What is said of an environment that an index has refused, with uv's own words."""

from __future__ import annotations

import pytest

from skylift.agent.environment.index_password import WITHHELD, how_to_have_password
from skylift.cloud.domain.upstream import WITHHELD as AS_THE_CLOUD_SAYS

RESOLVING = (
    "hint: An index URL (https://{}/simple) could not be queried due to a lack of valid authentication credentials "
    "(401 Unauthorized)"
)
FORBIDDEN = "hint: An index ({}/simple) returned a 403 Forbidden error. Check that the index URL is correct"
FETCHING = (
    "error: Failed to download `a @ http://{0}:8080/a-1-py3-none-any.whl`\n"
    "  cause: HTTP status client error (401 Unauthorized) for url (http://{0}:8080/a-1-py3-none-any.whl)"
)


def said(words: str, withheld: str = "pypi.example.com 10.0.0.7") -> str:
    return how_to_have_password(words, {WITHHELD: withheld})


@pytest.mark.parametrize(
    ("words", "host"),
    [
        (RESOLVING.format("pypi.example.com"), "pypi.example.com"),
        (RESOLVING.format("me:****@pypi.example.com"), "pypi.example.com"),
        (FORBIDDEN.format("https://pypi.example.com:8443"), "pypi.example.com"),
        (FETCHING.format("10.0.0.7"), "10.0.0.7"),
    ],
)
def test_whose_password_stays_away_and_how_servers_have_it(words: str, host: str) -> None:
    assert f'SKYLIFT_SHARE_PASSWORDS="{host}" skylift cloud up' in said(words)
    assert max(map(len, said(words).splitlines())) < 120


@pytest.mark.parametrize(
    "words",
    [
        RESOLVING.format("other.example.com"),
        RESOLVING.format("pypi.example.com.evil.test"),
        "error: a was not found at https://pypi.example.com/simple",
        "403",
        "",
    ],
)
def test_nothing_is_said_of_another_failure(words: str) -> None:
    assert said(words) == ""


def test_a_server_that_knows_every_password_is_told_nothing() -> None:
    assert how_to_have_password(RESOLVING.format("pypi.example.com"), {}) == ""


def test_both_halves_mean_the_same_variable() -> None:
    assert WITHHELD == AS_THE_CLOUD_SAYS
