"""The documents that commands run: their parameters, and the script that they make.

https://docs.aws.amazon.com/systems-manager/latest/userguide/documents-command-ssm-plugin-reference.html
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from skylift.cloud.domain.command import Command, Script
from skylift.cloud.domain.error import ServiceError
from skylift.cloud.domain.identity import Caller

SHELL = "AWS-RunShellScript"
PLUGIN = "aws:runShellScript"
STEP = "awsrunShellScript"
"""The plugin's name in the names of files and objects."""
VERSIONS = ("$DEFAULT", "$LATEST", "1")
DIRECTORY = "/usr/bin"
"""The agent's directory on AWS (the WorkingDirectory of amazon-ssm-agent.service), and so a script's default one."""
SECONDS = 3600
LARGEST = 48 << 10
"""The most bytes of a script: its server gets it in one pipe, which holds 64 KiB."""

_TIME = re.compile(r"[1-9][0-9]{0,4}|1[0-6][0-9]{4}|17[0-1][0-9]{3}|172[0-7][0-9]{2}|172800")
_TAKES = ("commands", "workingDirectory", "executionTimeout")


@dataclass(frozen=True)
class RunShellParameters:
    """The parameters of AWS-RunShellScript."""

    text: str
    directory: str
    seconds: int


def arn(caller: Caller, name: str) -> str:
    return f"arn:aws:ssm:{caller.region}::document/{name}"


def document(caller: Caller, asked: str, version: str) -> str:
    """The name of the document that a request names, by name or ARN."""
    name = asked.removeprefix(f"arn:aws:ssm:{caller.region}::document/")
    if name != SHELL:
        raise ServiceError(
            "InvalidDocument",
            f"Document {asked} does not exist here. There is {SHELL}, which also runs a script in Python whose first "
            "line is #!/usr/bin/env python3.",
        )
    if version not in VERSIONS:
        raise ServiceError("InvalidDocumentVersion", f"Document {name} has no version {version}.")
    return name


def inputs(name: str, parameters: dict[str, list[str]]) -> RunShellParameters:
    """Raises InvalidParameters for what the document does not take."""
    for unknown in (key for key in parameters if key not in _TAKES):
        raise _invalid(f"{name} has no parameter {unknown}. It has {', '.join(_TAKES)}.")
    commands = parameters.get("commands")
    if not commands:
        raise _invalid(f"{name} needs the parameter commands: a list of lines.")
    text = "".join(f"{line}\n" for line in commands)
    if len(text.encode()) > LARGEST:
        raise ServiceError("MaxDocumentSizeExceeded", f"The commands have more than {LARGEST >> 10} KiB.")
    if re.search(r"\{\{\s*ssm(-secure)?:", text):
        raise _invalid("{{ssm:NAME}} in commands is not supported here: have the script read the parameter.")
    directory = _one(name, parameters, "workingDirectory", "")
    if "\0" in directory or len(directory) > 4096:
        raise _invalid("workingDirectory is not a path.")
    seconds = _one(name, parameters, "executionTimeout", str(SECONDS))
    if not _TIME.fullmatch(seconds):
        raise _invalid(f"executionTimeout is {seconds!r}. It is a number of seconds from 1 to 172800.")
    # As on AWS, a path that is not absolute is one below a directory of downloads, which there is none of here.
    return RunShellParameters(text, directory if directory.startswith("/") else DIRECTORY, int(seconds))


def _one(name: str, parameters: dict[str, list[str]], key: str, usual: str) -> str:
    given = parameters.get(key, [usual])
    if len(given) != 1:
        raise _invalid(f"{name} takes one value as {key}.")
    return given[0] or usual


def output_prefix(command: Command, instance_id: str) -> str:
    """The prefix of the output of a command on one server, in the bucket that it names."""
    prefix = command.prefix.strip("/")
    return f"{prefix + '/' if prefix else ''}{command.id}/{instance_id}/{STEP}/0.{STEP}"


def script_of(command: Command, instance_id: str, region: str) -> Script:
    """What one server is to run. The environment has what the agent adds.

    https://github.com/aws/amazon-ssm-agent/blob/mainline/agent/executers/executers.go (prepareEnvironment)
    """
    given = inputs(command.document, command.parameters)
    return Script(
        key=command.id,
        text=given.text,
        directory=given.directory,
        seconds=given.seconds,
        environment={"SSM_COMMAND_ID": command.id, "AWS_SSM_INSTANCE_ID": instance_id, "AWS_SSM_REGION_NAME": region},
        bucket=command.bucket,
        prefix=output_prefix(command, instance_id),
    )


def allowance(text: str, servers: int) -> int:
    """A number, or a percentage of so many servers; one at least, where it is not nought."""
    if not text.endswith("%"):
        return int(text)
    share = int(text[:-1])
    return max(1, servers * share // 100) if share else 0


def _invalid(message: str) -> ServiceError:
    return ServiceError("InvalidParameters", message)
