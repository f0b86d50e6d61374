"""Headers of tar archives are those that tarfile makes."""

from __future__ import annotations

import tarfile
from typing import Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from skylift.agent.results.tar_header import file_header


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
@given(
    name=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=120),
    size=st.integers(0, 1 << 34),
    mode=st.sampled_from([0o644, 0o755]),
    changed=st.integers(-(1 << 34), 1 << 34),
)
@example(name="a" * 100, size=(8 << 30) - 1, mode=0o644, changed=0)
@example(name="a" * 100, size=8 << 30, mode=0o755, changed=0)
@example(name="a" * 101, size=0, mode=0o755, changed=1)
@example(name="no utf-8 \udcff", size=1, mode=0o755, changed=1)
def test_a_file_has_the_header_that_tarfile_gives_it(
    form: Literal[1, 2], name: str, size: int, mode: int, changed: int
) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.mtime = size, mode, changed
    assert file_header(name, size, mode, changed, form) == entry.tobuf(form, "utf-8", "surrogateescape")
