"""What is published: the archive of sources, the wheel, and what the package says of itself."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tarfile
import textwrap
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from itertools import chain
from pathlib import Path

import pytest
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder

TOP = Path(__file__).parents[1]
PROJECT = tomllib.loads((TOP / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The paths in the archive of sources, without its own folder."""
    (archive,) = SdistBuilder(str(TOP)).build(directory=str(tmp_path_factory.mktemp("sdist")))
    with tarfile.open(archive) as opened:
        return {name.split("/", 1)[1] for name in opened.getnames()}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    (archive,) = WheelBuilder(str(TOP)).build(directory=str(tmp_path_factory.mktemp("wheel")), versions=["standard"])
    with zipfile.ZipFile(archive) as opened:
        return set(opened.namelist())


def linked(page: Path) -> set[str]:
    """The files and folders of the repository that a page links to."""
    found = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text())
    return {str((page.parent / each).resolve().relative_to(TOP)) for each in found if "://" not in each}


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md", "SECURITY.md", "docs/run.md", "examples/README.md"])
def test_sources_have_all_that_a_page_links_to(sources: set[str], page: str) -> None:
    folders = {str(parent) for name in sources for parent in Path(name).parents}
    assert linked(TOP / page) - sources - folders == set()


def test_sources_have_the_command_that_runs_the_tests(sources: set[str]) -> None:
    assert {"scripts/test", "tests/conftest.py", "pyproject.toml"} <= sources


def test_wheel_has_the_types_the_figures_and_nothing_else(wheel: set[str]) -> None:
    assert "skylift/py.typed" in wheel
    assert any(name.startswith("skylift/catalogue/") and name.endswith(".csv") for name in wheel)
    assert {name.split("/")[0] for name in wheel} == {"skylift", f"skylift-{PROJECT['version']}.dist-info"}
    tracked = subprocess.run(
        ["git", "ls-files", "skylift"], cwd=TOP, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert set(tracked) - wheel == set()


def test_what_is_imported_is_declared_and_what_is_declared_is_imported() -> None:
    declared = {
        re.split(r"[<>=]", each)[0].lower()
        for each in [*PROJECT["dependencies"], *chain(*PROJECT["optional-dependencies"].values())]
    }
    names = packages_distributions()
    used = {
        distribution.lower()
        for name in imported(TOP / "skylift") - set(sys.stdlib_module_names) - {"skylift"}
        for distribution in names.get(name, [])
    }
    assert used == declared


def imported(folder: Path) -> set[str]:
    """The first parts of what is imported anywhere below a folder, in functions too. Programs of the servers' image
    find their packages there."""
    found = set()
    for file in folder.rglob("*.py"):
        if "debian13" in file.parts:
            continue
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                found.add(node.module.split(".")[0])
    return found


PAGE_NEEDS = """
import asyncio
from pathlib import Path

class tqdm:
    def __init__(self, *, total: int, desc: str, unit: str, unit_scale: bool) -> None: ...
    def update(self, n: float = 1) -> bool | None: ...
    def close(self) -> None: ...
"""


def test_a_users_type_checker_sees_the_api(tmp_path: Path) -> None:
    """A file of uses and the page's own must pass; another has a mistake in each line that says so."""
    uses = Path(__file__).parent / "typed_uses"
    page = re.findall(r"```python\n(.*?)```", (TOP / "docs" / "python.md").read_text(), re.DOTALL)
    assert len(page) > 5
    shown = textwrap.indent("".join(page), "    ")
    (tmp_path / "page.py").write_text(f"{PAGE_NEEDS}\n\nasync def page() -> None:\n{shown}")
    mypy = [sys.executable, "-m", "mypy", "--strict", "--config-file", "", "--cache-dir", str(tmp_path / "cache")]
    done = subprocess.run(
        [*mypy, "page.py", str(uses / "right.py"), str(uses / "wrong.py")],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    found = re.findall(r"(\w+)\.py:(\d+): error: .*\[(.+)\]", done.stdout)
    lines = enumerate((uses / "wrong.py").read_text().splitlines(), 1)
    wanted = [("wrong", str(number), line.rpartition("# ")[2]) for number, line in lines if "  # " in line]
    assert len(wanted) > 5
    assert found == wanted, done.stdout
