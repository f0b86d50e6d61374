"""What the command line has, the Python API has, and the other way round; and what is no value of an option."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
import typer

import skylift
from skylift.cli.main import make_app
from skylift.client.job.run_options import OPTIONS, is_flag
from skylift.python.keywords import check_types, with_environ

NOT_IN_PYTHON = {
    "program": "the script and its arguments are positional, and a command is command=[...]",
    "is_command": "what `--` becomes on the way; a command is command=[...]",
    "detach": "skylift.submit",
    "quiet": "nothing is printed",
    "as_json": "an Outcome is values already; Outcome.as_json()",
}
NOT_ON_THE_COMMAND_LINE = {
    "script": "the first word that is no option",
    "arguments": "what follows it",
    "args": "what follows it",
    "command": "what follows `--`",
    "check": "the exit code is skylift's own",
    "stdin": "the shell's `<`, or a pipe",
    "stdout": "the shell's `>`",
    "stderr": "the shell's `2>`",
    "progress": "the terminal's line, or lines in a pipe; -q for none",
}
WATCHING = {"check", "stdout", "stderr", "progress", "forward"}
"""What belongs to who watches a run, not to its job."""


def cli_params() -> set[str]:
    command: Any = typer.main.get_command(make_app("run"))
    return {each.name for each in command.commands["run"].params}


def params(function: Any) -> dict[str, inspect.Parameter]:
    return dict(inspect.signature(function).parameters)


def test_python_has_what_the_command_line_has() -> None:
    mine = set(params(skylift.run))
    assert cli_params() - mine == set(NOT_IN_PYTHON)
    assert mine - cli_params() == set(NOT_ON_THE_COMMAND_LINE)


def test_what_submit_has() -> None:
    assert set(params(skylift.run)) - set(params(skylift.submit)) == WATCHING


@pytest.mark.parametrize("name", ["run", "submit"])
def test_the_async_form_has_the_same(name: str) -> None:
    one, other = (params(getattr(module, name)) for module in (skylift, skylift.aio))
    assert {each: one[each].default for each in one} == {each: other[each].default for each in other}
    methods = {each for each in vars(skylift.Job) if not each.startswith("_")}
    assert methods == {each for each in vars(skylift.aio.Job) if not each.startswith("_")}


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_is_shown(name: str) -> None:
    """By `help`, and by the completion of notebooks, which asks for the signature."""
    for function in (skylift.run, skylift.submit):
        assert f"    {name} " in (function.__doc__ or "")
        shown = params(function)[name]
        assert shown.kind is inspect.Parameter.KEYWORD_ONLY
        assert shown.default == (False if is_flag(name) else OPTIONS[name].default)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"typ": "t3.small"}, r"^f\(\) got an unexpected keyword argument 'typ'. Did you mean 'type'\?$"),
        ({"zebra": 1}, r"^f\(\) got an unexpected keyword argument 'zebra'$"),
        ({"max_cost": "2"}, r"^f\(\): max_cost must be float or None, not str$"),
        ({"max_cost": True}, "max_cost must be float or None, not bool"),
        ({"spot": "yes"}, "spot must be bool or None, not str"),
        ({"spot": 1}, "spot must be bool or None, not int"),
        ({"cpu": 2.5}, "cpu must be int or str or None, not float"),
        ({"cpu": True}, "cpu must be int or str or None, not bool"),
        ({"max_time": [1]}, "max_time must be str or int or float or None, not a list of int"),
        ({"out": ["a", 3]}, r"out must be .*Sequence\[.*, not a list of int, str"),
        ({"out": b"a"}, "out must be .*, not bytes"),
        ({"env": {"SECRET": 3}}, "env must be .*, not a dict of int, str$"),
        ({"env": ["hush", 7]}, "not a list of int, str$"),
        ({"name": Path("x")}, "name must be str or None, not PosixPath"),
    ],
)
def test_what_it_cannot_be(options: dict[str, Any], words: str) -> None:
    with pytest.raises(TypeError, match=words):
        check_types("f()", options)


def test_what_it_can_be() -> None:
    check_types("f()", dict.fromkeys(OPTIONS))
    check_types("f()", {"max_cost": 2, "max_time": 1.5, "keep": "5m", "cpu": 4, "gpu": "T4", "fresh": True})
    check_types("f()", {"in_": Path("a"), "out": ("a", Path("b")), "env": {"A": "b"}, "checkpoint": Path("c")})
    check_types("f()", {"env": ["A", "B=c"], "security_group": "sg-1", "args": [Path("a"), "-x"]})


def test_variables_count_where_nothing_is_said() -> None:
    environ = {"SKYLIFT_ON": "aws", "SKYLIFT_SSH_FROM": "203.0.113.7", "SKYLIFT_CPU": "4"}
    assert with_environ({}, environ) == {"on": "aws", "ssh_from": "203.0.113.7"}
    assert with_environ({"on": "local", "ssh_from": None}, environ) == {"on": "local", "ssh_from": "203.0.113.7"}
    assert with_environ({"cpu": 2}, {"SKYLIFT_ON": ""}) == {"cpu": 2}
