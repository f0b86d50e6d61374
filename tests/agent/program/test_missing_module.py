"""A program whose import failed: its user is told how the module gets to the server."""

from __future__ import annotations

import pytest
from support.agent_bench import Machine
from support.shipped_job import Shipped

from skylift.agent.program.missing_module import how_to_have_module
from skylift.contract.record import Environment

NONE = Environment()


def errors(name: str) -> bytes:
    return f"Traceback (most recent call last):\nModuleNotFoundError: No module named {name!r}\n".encode()


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (
            "none",
            "The server has no module pandas.\n"
            'A script has its packages by a header:\n  # /// script\n  # dependencies = ["pandas"]\n  # ///\n'
            "A module of your own goes along with --in pandas.py",
        ),
        (
            "script",
            "The server has no module pandas.\n"
            'The list at the top of the script is to name its package: "pandas"\n'
            "A module of your own goes along with --in pandas.py",
        ),
        ("project", "The project's environment has no module pandas. Its package is added by: uv add pandas"),
        ("requirements", "The environment has no module pandas. Add to a/requirements.txt: pandas"),
    ],
)
def test_each_environment_has_its_own_way(kind: str, told: str) -> None:
    assert how_to_have_module(errors("pandas"), Environment(kind, "a/requirements.txt")) == told


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (
            "none",
            "The server has no module our_utils.\n"
            "A module of your own goes along with --in our_utils.py\n"
            'A script has its packages by a header:\n  # /// script\n  # dependencies = ["PACKAGE"]\n  # ///',
        ),
        ("project", "The project's environment has no module our_utils. Its package is added by: uv add PACKAGE"),
        ("requirements", "The environment has no module our_utils. Add to requirements.txt: the package that has it"),
    ],
)
def test_a_package_that_nobody_knows_is_not_recommended(kind: str, told: str) -> None:
    assert how_to_have_module(errors("our_utils"), Environment(kind, "requirements.txt")) == told


def test_a_package_may_have_another_name_than_its_module() -> None:
    assert '["scikit-learn"]' in how_to_have_module(errors("sklearn.linear_model"), NONE)
    assert '["numpy"]' in how_to_have_module(errors("numpy.no"), NONE)
    assert '["PACKAGE"]' in how_to_have_module(errors("google.cloud"), NONE)


def test_only_the_last_line_counts() -> None:
    assert how_to_have_module(errors("pandas") + b"\r\n \n", NONE)
    assert how_to_have_module(errors("pandas") + b"ValueError: 3\n", NONE) == ""
    assert how_to_have_module(b"\xff" * 4096, NONE) == how_to_have_module(b"", NONE) == ""


@pytest.mark.parametrize("name", ["a\x1b[31m", "a;b", "a b", "../a", "a" * 200, "$(id)", "x\nrm"])
def test_what_is_no_name_of_a_module_is_not_repeated(name: str) -> None:
    line = f"ModuleNotFoundError: No module named '{name}'\n".encode()
    assert how_to_have_module(line, NONE) == ""


def test_the_server_says_so(shipped: Shipped, machine: Machine) -> None:
    shipped.ship("import a_module_that_nobody_has\n")
    shipped.boot()
    machine.wait()
    status = shipped.status()
    assert (status["state"], status["exit_code"], status["reason"]) == ("failed", 1, "The program exited with 1.")
    assert status["detail"].startswith("The server has no module a_module_that_nobody_has.\n")
