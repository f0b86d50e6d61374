"""What decides an environment, and what cannot be shared because it takes the job's own files."""

from __future__ import annotations

from pathlib import Path

import pytest

from skylift.runner.job import Program
from skylift.runner.plan import Order, plan_job
from skylift.runner.prebuilt import Recipe, recipe_of

LOCK = """
[[package]]
name = "leaf"
version = "1.0"
source = { registry = "https://index.example/simple" }

[[package]]
name = "work"
version = "0"
source = { %s }
"""


def recipe(folder: Path, *, python: str | None = None, processor: str = "x86_64", **files: str) -> Recipe | None:
    """Of the script job.py beside these files; `__` in a name is a dot."""
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    if not (folder / "job.py").exists():
        (folder / "job.py").write_text("print()\n")
    return recipe_of(plan_job(Order(Program("script", "job.py"), python=python), folder, {}), processor)


def pyproject(*dependencies: str, more: str = "") -> str:
    return f'[project]\nname = "work"\nversion = "0"\ndependencies = {list(dependencies)}\n{more}'


def test_code_does_not_decide(tmp_path: Path) -> None:
    first = recipe(tmp_path, requirements__txt="leaf==1.0\n", job__py="print(1)\n")
    assert first == recipe(tmp_path, requirements__txt="leaf==1.0\n", job__py="print(2)\n")
    assert first is not None
    header = "# /// script\n# dependencies = ['leaf']\n# ///\n"
    one = recipe(tmp_path, job__py=f"{header}print(1)\n")
    assert one is not None
    assert one == recipe(tmp_path, job__py=f"{header}print(2)\n")
    assert one != first


def test_what_decides(tmp_path: Path) -> None:
    """Each line asks for another environment than all the others."""
    found = [
        recipe(tmp_path, requirements__txt="leaf==1.0\n"),
        recipe(tmp_path, requirements__txt="leaf==2.0\n"),
        recipe(tmp_path, python="3.12"),
        recipe(tmp_path, processor="arm64"),
        recipe(tmp_path, pyproject__toml='[tool.uv]\nindex-url = "https://other.example/simple"\n'),
        recipe(tmp_path, requirements__txt="-r more.txt\n", more__txt="leaf==2.0\n"),
        recipe(tmp_path, more__txt="leaf==3.0\n"),
    ]
    assert None not in found
    assert len({each.digest for each in found if each}) == len(found)


def test_a_projects_own_version_and_tools_do_not_decide(tmp_path: Path) -> None:
    first = recipe(tmp_path, pyproject__toml=pyproject("leaf", more="[tool.ruff]\nline-length = 80\n"))
    changed = pyproject("leaf").replace('version = "0"', 'version = "1"')
    assert first is not None
    assert first == recipe(tmp_path, pyproject__toml=changed)
    assert first != recipe(tmp_path, pyproject__toml=pyproject("leaf<2"))


@pytest.mark.parametrize(
    "line",
    [
        "leaf",
        "leaf[extra1,extra2]>=1,<2 ; python_version > '3.8'",
        "leaf (>=1)",
        "leaf @ https://files.example/leaf-1.0-py3-none-any.tar  # a comment",
        "leaf @ git+https://code.example/leaf@0123456789abcdef",
        "leaf==1.0 \\\n    --hash=sha256:0123",
        "--index-url https://index.example/simple\nleaf",
        "--pre\nleaf",
    ],
)
def test_requirements_that_are_anybodys(tmp_path: Path, line: str) -> None:
    assert recipe(tmp_path, requirements__txt=f"{line}\n") is not None


@pytest.mark.parametrize(
    "line",
    [
        ".",
        "-e .",
        "--editable=./leaf",
        "./leaf",
        "leaf/dist",
        "leaf-1.0-py3-none-any.whl",
        "leaf @ file:///srv/leaf.whl",
        "file:leaf",
        "/srv/leaf",
        "--find-links dist\nleaf",
        "-r ../other.txt",
        "-r missing.txt",
    ],
)
def test_requirements_that_are_files_of_the_job(tmp_path: Path, line: str) -> None:
    assert recipe(tmp_path, requirements__txt=f"{line}\n") is None


def test_locks(tmp_path: Path) -> None:
    ours = recipe(tmp_path, pyproject__toml=pyproject("leaf"), uv__lock=LOCK % 'virtual = "."')
    assert ours is not None
    assert ours.locked
    assert recipe(tmp_path, uv__lock=LOCK % 'editable = "libs/work"') is None
    assert recipe(tmp_path, uv__lock=LOCK % 'registry = "dist"') is None
    (tmp_path / "uv.lock").unlink()
    unlocked = recipe(tmp_path)
    assert unlocked is not None
    assert not unlocked.locked


@pytest.mark.parametrize(
    "more",
    [
        '[tool.uv.sources]\nleaf = { path = "libs/leaf" }\n',
        "[tool.uv.sources]\nleaf = { workspace = true }\n",
        '[tool.uv]\nfind-links = ["dist"]\n',
        '[dependency-groups]\ndev = ["leaf @ file:///srv/leaf"]\n',
    ],
)
def test_projects_that_need_files_of_the_job(tmp_path: Path, more: str) -> None:
    assert recipe(tmp_path, pyproject__toml=pyproject("leaf", more=more)) is None


def test_a_project_that_must_run_to_tell_its_needs(tmp_path: Path) -> None:
    text = '[project]\nname = "work"\nversion = "0"\ndynamic = ["dependencies"]\n[build-system]\nrequires = []\n'
    assert recipe(tmp_path, pyproject__toml=text) is None


def test_a_header_that_needs_files_of_the_job(tmp_path: Path) -> None:
    header = "# /// script\n# dependencies = ['leaf']\n# [tool.uv.sources]\n# leaf = { path = 'leaf' }\n# ///\n"
    assert recipe(tmp_path, job__py=header) is None
