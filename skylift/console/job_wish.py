"""A job as a page puts it together: what is missing, and one value that is both submitted and shown as a command."""

from __future__ import annotations

import re
import shlex
from collections.abc import Container
from dataclasses import dataclass
from typing import Any, cast

from skylift.client.errors import UsageError
from skylift.client.job.job import NAME_FORM, Program
from skylift.client.job.repeat import Repeat
from skylift.client.job.run_options import OPTIONS, RunOptions, is_flag
from skylift.client.plan.plan_job import ENV_NAME_FORM
from skylift.client.plan.read_options import read_options

SCRIPT_BYTES = 256 << 10
"""The most bytes of a script that comes from a page. Larger programs have files of their own."""
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}\.py")

NOT_RECORDED = ("image", "private", "ssh_from", "subnet", "security_group", "max_price", "or_on_demand")
"""Options of which no record tells. A job that is run again goes without them."""


def spell_not_recorded() -> str:
    words = [OPTIONS[name].words[0] for name in NOT_RECORDED]
    return f"No record tells of {', '.join(words[:-1])} and {words[-1]}: if it had some, add them to the command."


@dataclass(frozen=True)
class JobSpec:
    """What `skylift run` would be given: the same program and options are submitted, and shown."""

    program: Program
    options: RunOptions

    @property
    def command(self) -> str:
        """For a shell. Values of environment variables are not in it: the command takes them from its own."""
        words = ["skylift", "run", "-d"]
        for name, value in self.options.items():
            words += _words(name, value)
        program = self.program
        before = {"script": [], "module": ["-m"], "command": ["--"]}[program.kind]
        return shlex.join([*words, *before, program.target, *program.args])


@dataclass(frozen=True)
class JobWish:
    """The fields of the form, as they were typed. `environment` has a variable a line, and is not shown again."""

    arguments: str = ""
    kind: str = ""
    outputs: str = ""
    name: str = ""
    max_time: str = ""
    environment: str = ""

    def missing(self, kinds: Container[str]) -> list[str]:
        """What has to be mended before it can be submitted, in words."""
        found = []
        for label, text in (("arguments", self.arguments), ("results", self.outputs)):
            try:
                _split(text)
            except ValueError:
                found.append(f"The {label} have a quotation mark without its other one, or a NUL character.")
        if self.kind and self.kind not in kinds:
            found.append(f"There is no type {self.kind!r}.")
        if self.name and not NAME_FORM.fullmatch(self.name):
            found.append("The job's name has lower-case letters, digits and hyphens, at most 40.")
        # A line is not shown: it may be a secret.
        for number, line in enumerate(self.environment.splitlines(), 1):
            name, equals, value = line.partition("=")
            if line.strip() and (not equals or not ENV_NAME_FORM.fullmatch(name.strip()) or "\0" in value):
                found.append(f"Line {number} of the environment is not like NAME=VALUE.")
        if not found:
            try:
                read_options(self.options({}), Program("script", "job.py"))
            except UsageError as error:
                found.append(f"{error.message} {error.advice}".strip())
        return found

    def options(self, others: RunOptions) -> RunOptions:
        """With `others`, which no field has."""
        lines = [line.partition("=") for line in self.environment.splitlines() if line.strip()]
        fields: dict[str, Any] = {
            "name": self.name,
            "out": _split(self.outputs),
            "type": self.kind,
            "max_time": self.max_time,
            "env": {name.strip(): value for name, _, value in lines},
        }
        return cast(RunOptions, {**others, **{name: value for name, value in fields.items() if value}})

    def of(self, program: Program, others: RunOptions) -> JobSpec:
        """A job of this program with the form's arguments."""
        return JobSpec(Program(program.kind, program.target, tuple(_split(self.arguments))), self.options(others))


def script_missing(file_name: str, text: str) -> list[str]:
    """What has to be mended of a script that came from the browser. Its name becomes that of a file."""
    found = []
    if not text.strip():
        found.append("Drop a script, choose one, or write it.")
    elif len(text.encode(errors="replace")) > SCRIPT_BYTES:
        found.append(f"The script has more than {SCRIPT_BYTES >> 10} KiB. Run it with the command, from its folder.")
    elif "\0" in text or text.encode(errors="ignore").decode() != text:
        found.append("The script is not UTF-8 text.")
    if not _FILE_NAME.fullmatch(file_name):
        found.append("The file's name is like job.py: letters, digits, `.`, `_` and `-`, at its end .py.")
    return found


def _split(text: str) -> list[str]:
    """As a shell would. Raises ValueError."""
    if "\0" in text:
        raise ValueError("NUL")
    return shlex.split(text)


def _words(name: str, value: Any) -> list[str]:
    option = OPTIONS[name].words[0]
    if is_flag(name):
        return [option] if value else []
    # `--out=-x` is a value whatever it begins with.
    values = value if isinstance(value, list | tuple | dict) else [value]
    return [word for each in values for word in ([f"{option}={each}"] if str(each)[:1] == "-" else [option, str(each)])]


def script_spec(file_name: str, wish: JobWish) -> JobSpec:
    return wish.of(Program("script", file_name), {})


def wish_again(repeat: Repeat) -> JobWish:
    """What the form begins with. The name is another job's, and values of variables are in no record."""
    seconds = repeat.options.get("max_time")
    return JobWish(
        arguments=shlex.join(repeat.program.args),
        kind=repeat.instance_type,
        outputs=shlex.join(repeat.outputs),
        max_time=f"{seconds}s" if seconds else "",
    )


def again_spec(repeat: Repeat, wish: JobWish) -> JobSpec:
    others = {name: value for name, value in repeat.options.items() if name != "max_time"}
    return wish.of(repeat.program, cast(RunOptions, others))
