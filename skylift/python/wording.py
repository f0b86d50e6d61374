"""Rewords messages that name options of the command line, for callers of the Python API."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from skylift.client.errors import SkyliftError, UsageError
from skylift.client.job.outcome import JobFailed
from skylift.client.job.run_options import OPTIONS

_NAMES = {word: name for name, option in OPTIONS.items() for word in option.words if word.startswith("--")}
_NAMES |= {"-it": "interactive", "-m": "module", "--forward": "forward", "--since": "since"}
_NAMES |= {"--timezone": "timezone", "--overlap": "overlap", "--dashboard": "dashboard"}
_CHOICES = {"on": "local|aws", "arch": "x86_64|arm64"}
"""Options that a message may advise with a value."""

_GIVEN = r"""`[^`]*`|'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
"""A command, or a value as somebody gave it, which is shown as it is."""
_ADVISED = "|".join(f"--{name} (?:{values})" for name, values in _CHOICES.items())
_WORDS = re.compile(rf"(?P<given>{_GIVEN})|(?<![\w-])(?:(?P<advised>{_ADVISED})|(?P<word>--?[a-z][a-z-]*))(?![\w-])")


def in_python(text: str) -> str:
    """`--max-time 'soon'` is `max_time 'soon'`, and `--on aws` is `on='aws'`."""
    return _WORDS.sub(_reword, text)


def _reword(found: re.Match[str]) -> str:
    if found["given"]:
        return found["given"]
    if found["advised"]:
        word, value = found["advised"].split()
        return f"{_NAMES[word]}={value!r}"
    return _NAMES.get(found["word"], found["word"])


@contextmanager
def called(function: str) -> Iterator[None]:
    """What is raised within names the options of Python, and the function that has them."""
    try:
        yield
    except JobFailed:
        raise
    except SkyliftError as error:
        message, advice = in_python(error.message), in_python(error.advice)
        if isinstance(error, UsageError) and message != error.message:
            message = f"{function}: {message}"
        error.message, error.advice, error.args = message, advice, (message,)
        raise
