"""Where root looks for the programs that it starts while programs of the user's run, or have run: in no folder that the
user may write to."""

from __future__ import annotations

ROOT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""The PATH of such a program, too, as it may start others."""
