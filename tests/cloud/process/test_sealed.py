"""What can still be imported by a process that is sealed, and by which names root finds programs."""

from __future__ import annotations

import os
import py_compile
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from skylift.cloud.state.program import USUAL_PATH, root_path

pytestmark = pytest.mark.real
"""What is root's can only be made by root."""

SEALED = """
import sys
from skylift.cloud.process.sealed import seal
sys.path.insert(0, sys.argv[1])
import early
seal()
import early
try:
    import planted
except ImportError as error:
    print(error)
"""


@pytest.fixture
def theirs() -> Iterator[Path]:
    """A place of the user's, where Python looks first."""
    place = Path(tempfile.mkdtemp(prefix="sky-"))
    (place / "early.py").touch()
    (place / "planted.py").write_text("print('run as root')")
    os.chown(place, 54321, 54321)
    yield place
    shutil.rmtree(place)


def sealed(place: Path) -> str:
    command = [sys.executable, "-c", SEALED, place]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_what_others_could_have_put_there_is_not_imported(theirs: Path) -> None:
    assert sealed(theirs) == f"planted: users other than root can change {theirs}/planted.py\n"


def test_nor_is_what_was_compiled_by_others(theirs: Path) -> None:
    """Python loads that in the place of the source."""
    root = Path(os.environ["SKYLIFT_DATA"]) / "modules"
    shutil.copytree(theirs, root)
    try:
        assert sealed(root) == "run as root\n"
        compiled = Path(py_compile.compile(str(root / "planted.py"), doraise=True))
        assert sealed(root) == "run as root\n"
        for place in (compiled.parent, compiled):
            os.chown(place, 54321, 54321)
            assert "users other than root can change" in sealed(root)
            os.chown(place, 0, 0)
        compiled.unlink()
        os.chown(compiled.parent, 54321, 54321)
        assert "users other than root can change" in sealed(root)
    finally:
        shutil.rmtree(root)


def test_root_finds_programs_in_directories_of_roots_only(theirs: Path) -> None:
    assert root_path(f"{theirs}::.:/usr/bin:{theirs}/bin") == os.pathsep.join(
        dict.fromkeys(["/usr/bin", *USUAL_PATH.split(os.pathsep)])
    )
