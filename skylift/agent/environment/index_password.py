"""Says how an index's password gets to the server, after an environment has failed for want of it."""

from __future__ import annotations

import re
from typing import Mapping

WITHHELD = "SKYLIFT_WITHHELD"
"""A server's variable: the index hosts whose passwords stay with the cloud. Servers on AWS do not have it."""
_HOST = re.compile(r"https?://(?:[^/\s@]*@)?([A-Za-z0-9_.-]+)")
_WORDS = """
The password for %s stays on the machine of the cloud, and the project names this index itself.
Servers have it when the cloud was started with: SKYLIFT_SHARE_PASSWORDS="%s" skylift cloud up"""


def how_to_have_password(words: str, environment: Mapping[str, str]) -> str:
    """Lines for the job's outcome. Empty unless, by its `words`, uv was refused by such a host."""
    names = " ".join(sorted(set(environment.get(WITHHELD, "").split()) & set(_HOST.findall(words))))
    return _WORDS % (names, names) if names and re.search(r"\b40[13]\b", words) else ""
