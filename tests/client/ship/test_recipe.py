"""What decides an environment, and what cannot be shared because it takes the job's own files."""

from __future__ import annotations

import subprocess
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest

from skylift.client.job.job import Program
from skylift.client.job.spot import read_spot
from skylift.client.plan.plan_job import Order, plan_job
from skylift.client.ship.recipe import Recipe, recipe_of
from skylift.contract.record import Environment

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


def test_tables_in_tables_of_a_lock_are_no_error(tmp_path: Path) -> None:
    """Dotted names go as deep as anybody likes. uv says what it thinks of them."""
    lock = LOCK % 'virtual = "."' + "a" + ".a" * 5000 + " = 1\n"
    assert recipe(tmp_path, pyproject__toml=pyproject("leaf"), uv__lock=lock) is None


def test_uv_gets_what_was_understood_and_nothing_else(tmp_path: Path) -> None:
    """In another form, too: no other way to read it can find anything else there."""
    more = (
        '[tool.uv]\nlink-mode = "symlink"\nprerelease = "allow"\n[tool.x]\ny = 1\n[build-system]\nrequires = ["./x"]\n'
    )
    found = recipe(tmp_path, pyproject__toml=pyproject("leaf", more=more), uv__lock=LOCK % 'virtual = "."')
    assert found is not None
    assert tomllib.loads(found.texts["pyproject.toml"]) == {
        "project": {"name": "work", "version": "0", "dependencies": ["leaf"]},
        "tool": {"uv": {"package": True, "prerelease": "allow"}},
    }
    assert tomllib.loads(found.texts["uv.lock"]) == tomllib.loads(LOCK % 'virtual = "."')
    for each in ("pyproject.toml", "uv.lock"):
        (tmp_path / each).write_text("")
    found = recipe(tmp_path, requirements__txt="# ./x\n leaf \\\n  ==1.0 # y\n-r more.txt\n--pre\n", more__txt="twig\n")
    assert found is not None
    texts = {"requirements.txt": "leaf    ==1.0\n-r more.txt\n--pre\n", "more.txt": "twig\n", "options~.txt": "--pre\n"}
    assert (found.source, found.texts) == ("requirements.txt", texts)


@pytest.mark.parametrize("end", ["\u2028", "\x85", "\x0c", "\x1e", "\r"])
@pytest.mark.parametrize("name", ["requirements.txt", ".python-version", "uv.toml"])
def test_what_ends_a_line_for_some_programs_only_is_in_no_recipe(tmp_path: Path, end: str, name: str) -> None:
    text = {
        "requirements.txt": "leaf%sleaf==2.0\n",
        ".python-version": "3.12%s3.13\n",
        "uv.toml": "#%soffline = true\n",
    }
    (tmp_path / name).write_text(text[name] % end)
    found = recipe(tmp_path, pyproject__toml="")
    assert found is None or not any(end in each for each in found.texts.values())
    assert found is None or name == "uv.toml"


def test_the_python_that_a_project_around_it_requires_decides(tmp_path: Path) -> None:
    """uv makes no other environment in its folder."""
    first = recipe(tmp_path, requirements__txt="leaf\n")
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "work"\nversion = "0"\nrequires-python = ">=3.12"\n')
    wanted = replace(plan_job(Order(Program("script", "job.py")), tmp_path, {}), environment=Environment("none"))
    assert recipe_of(wanted, "x86_64") != replace(first or Recipe("", False), texts={})
    texts = (recipe_of(wanted, "x86_64") or Recipe("", False)).texts
    assert tomllib.loads(texts["pyproject.toml"])["project"]["requires-python"] == ">=3.12"


def test_where_a_script_is_and_what_it_is_called_does_not_decide(tmp_path: Path) -> None:
    header = "# /// script\n# dependencies = ['leaf']\n# ///\n"
    for each in ("one.py", "inner/two.py"):
        (tmp_path / each).parent.mkdir(exist_ok=True)
        (tmp_path / each).write_text(header)
    one, two = (
        recipe_of(plan_job(Order(Program("script", each)), tmp_path, {}), "x86_64")
        for each in ("one.py", "inner/two.py")
    )
    assert one is not None
    assert one == two


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
        "leaf==1.0  # a comment: für later, ./leaf",
        "zope.interface>=5 # x\\\nleaf",
        "leaf==1.0 \\\n    --hash=sha256:0123",
        "leaf==1.0 \\\r\n    --hash=sha256:0123\r\nother",
        "--index-url https://index.example/simple\nleaf",
        "--pre\nleaf",
        "--extra-index-url=http://user:word@10.0.0.5:8080/simple\nleaf",
        "--no-binary=:all:\nleaf",
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
        "--extra-index-url ./wheels\nleaf",
        "--extra-index-url=wheels\nleaf",
        "--index-url /srv/wheels\nleaf",
        "-i file:///srv/wheels\nleaf",
        "--index-url http://localhost:8000/simple\nleaf",
        "--index-url http://127.0.0.1/simple\nleaf",
        "--index-url http://2130706433/simple\nleaf",
        "--index-url http://0x7f.1/simple\nleaf",
        "--index-url http://[::1]/simple\nleaf",
        "--index-url http://[::ffff:127.0.0.1]/simple\nleaf",
        "--index-url http://169.254.169.254/simple\nleaf",
        "--index-url https://${HOST}/simple\nleaf",
        "--index-url https:///simple\nleaf",
        "-fdist\nleaf",
        "--cache-dir ./cache\nleaf",
        "--unheard-of\nleaf",
        "leaf @ https://files.example/leaf-1.0-py3-none-any.whl",
        "leaf @ git+https://code.example/leaf@0123456789abcdef",
        "https://files.example/leaf-1.0.tar.gz",
        "leaf-1.0.tar.xz",
        "leaf-1.0.tbz",
        "leaf-1.0.TAR.LZMA",
        "leaf-1.0.zip[extra]",
        "${NAME}",
        "# a comment that goes on? \\\n-e ./leaf",
        "leaf # x \\\n./leaf",
        "leaf\x0b./leaf",
        "leaf\r./leaf",
        "le\\\naf/dist",
        "leaf\u00a0# ./leaf",
        "leaf==1.0 --hash=sha256:0123 --hash ./x",
        "leaf --config-settings=x=y",
        "job.py",
    ],
)
def test_requirements_that_are_files_of_the_job(tmp_path: Path, line: str) -> None:
    assert recipe(tmp_path, requirements__txt=f"{line}\n") is None


def test_locks(tmp_path: Path) -> None:
    ours = recipe(tmp_path, pyproject__toml=pyproject("leaf"), uv__lock=LOCK % 'virtual = "."')
    assert ours is not None
    assert ours.locked
    (tmp_path / "uv.lock").unlink()
    unlocked = recipe(tmp_path)
    assert unlocked is not None
    assert not unlocked.locked


@pytest.mark.parametrize(
    "source",
    [
        'editable = "libs/work"',
        'registry = "dist"',
        'registry = "file:///srv/dist"',
        'registry = "http://localhost/simple"',
        'git = "https://code.example/work#0123"',
        'url = "https://files.example/work-1.0.whl"',
        'path = "work-1.0.whl"',
        'directory = "work"',
        'registry = "https://index.example/simple", path = "x"',
        'unheard = "https://index.example"',
    ],
)
def test_locks_that_name_what_is_not_an_indexs(tmp_path: Path, source: str) -> None:
    assert recipe(tmp_path, pyproject__toml=pyproject("leaf"), uv__lock=LOCK % source) is None


@pytest.mark.parametrize(
    "file",
    [
        '{ url = "https://files.example/leaf.whl" }',
        '{ url = "https://files.example/leaf.whl", hash = "md5:00" }',
        '{ path = "leaf.whl", hash = "sha256:%s" }',
        '{ url = "file:///srv/leaf.whl", hash = "sha256:%s" }',
    ],
)
def test_locked_files_have_an_address_and_a_hash(tmp_path: Path, file: str) -> None:
    good = '{ url = "https://files.example/leaf.whl", hash = "sha256:%s" }'
    lock = LOCK.replace('[[package]]\nname = "work"', 'wheels = [FILE]\n\n[[package]]\nname = "work"') % 'virtual = "."'
    files = {"pyproject__toml": pyproject("leaf")}
    digest = "0f" * 32
    assert recipe(tmp_path, uv__lock=lock.replace("FILE", good.replace("%s", digest)), **files) is not None
    assert recipe(tmp_path, uv__lock=lock.replace("FILE", file.replace("%s", digest)), **files) is None


def test_a_lock_that_is_written_another_way_says_the_same(tmp_path: Path) -> None:
    """TOML has several ways to write a table."""
    lock = 'version = 1\n[[package]]\nname = "leaf"\nversion = "1.0"\n[package.source]\nregistry = "./wheels"\n'
    assert recipe(tmp_path, pyproject__toml=pyproject("leaf"), uv__lock=lock) is None


@pytest.mark.parametrize(
    "more",
    [
        '[tool.uv.sources]\nleaf = { path = "libs/leaf" }\n',
        "[tool.uv.sources]\nleaf = { workspace = true }\n",
        '[tool.uv]\nfind-links = ["dist"]\n',
        '[dependency-groups]\ndev = ["leaf @ file:///srv/leaf"]\n',
        '[tool.uv.sources]\nleaf = { git = "https://code.example/leaf" }\n',
        '[tool.uv.sources]\nleaf = { url = "https://files.example/leaf.whl" }\n',
        '[tool.uv.sources]\nleaf = [{ index = "x" }, { path = "libs/leaf" }]\n',
        '[[tool.uv.index]]\nname = "x"\nurl = "./wheels"\n',
        '[[tool.uv.index]]\nname = "x"\nurl = "wheels"\nformat = "flat"\n',
        '[[tool.uv.index]]\nname = "x"\nurl = "https://index.example/simple"\nformat = "flat"\n',
        '[[tool.uv.index]]\nurl = "file:///srv/wheels"\n',
        '[tool.uv]\nindex-url = "./wheels"\n',
        '[tool.uv]\nextra-index-url = ["./wheels"]\n',
        '[tool.uv]\nextra-index-url = "./wheels"\n',
        '[tool.uv]\ncache-dir = "./cache"\n',
        '[tool.uv]\npython-install-mirror = "file:///srv"\n',
        "[tool.uv]\nno-index = true\n",
        "[tool.uv]\nunheard-of = 1\n",
        '[tool.uv]\ndev-dependencies = ["./leaf"]\n',
        '[tool.uv]\nconstraint-dependencies = ["leaf @ file:///srv/leaf"]\n',
        '[tool.uv]\noverride-dependencies = ["leaf @ https://files.example/leaf.whl"]\n',
        '[tool.uv]\nbuild-constraint-dependencies = ["x @ ./x"]\n',
        '[tool.uv.pip]\nfind-links = ["dist"]\n',
        '[tool.uv.pip]\nindex-url = "https://index.example/simple"\n',
        '[tool.uv.workspace]\nmembers = ["libs/*"]\n',
        '[tool.uv.config-settings]\nx = "y"\n',
        '[tool]\nuv = "x"\n',
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


def test_settings_that_are_understood(tmp_path: Path) -> None:
    more = """
[tool.uv]
resolution = "highest"
exclude-newer = "2026-01-01T00:00:00Z"
required-version = ">=0.5,<1"
constraint-dependencies = ["leaf<3 ; python_version > '3.8'"]
environments = ["sys_platform == 'linux'"]
compile-bytecode = true
[tool.uv.sources]
leaf = { index = "ours" }
[[tool.uv.index]]
name = "ours"
url = "https://index.example/simple"
explicit = true
"""
    first = recipe(tmp_path, pyproject__toml=pyproject("leaf", more=more))
    assert first is not None
    other = more.replace("index.example", "index2.example")
    assert first != recipe(tmp_path, pyproject__toml=pyproject("leaf", more=other))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("uv.toml", 'extra-index-url = ["./wheels"]\n'),
        ("uv.toml", 'cache-dir = "x"\n'),
        ("uv.toml", "no TOML"),
        ("pyproject.toml", '[tool.uv]\nfind-links = ["wheels"]\n'),
        (".python-version", "./bin/python\n"),
        (".python-versions", "3.12\n/srv/python\n"),
    ],
)
@pytest.mark.parametrize("nearer", [False, True])
def test_what_uv_reads_further_up(tmp_path: Path, name: str, text: str, nearer: bool) -> None:
    """Also where a file of the same name is nearer: uv goes on to look for settings."""
    inner = tmp_path / "inner"
    inner.mkdir()
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    (inner / "requirements.txt").write_text("leaf\n")
    (inner / "job.py").write_text("print()\n")

    def look() -> Recipe | None:
        return recipe_of(plan_job(Order(Program("script", "inner/job.py")), tmp_path, {}), "x86_64")

    if nearer:
        (inner / name).write_text("3.12\n" if name.startswith(".") else "")
    assert look() is not None
    (tmp_path / name).write_text(text)
    assert look() is None


def test_another_version_of_python_is_another_environment(tmp_path: Path) -> None:
    first = recipe(tmp_path, pyproject__toml="", requirements__txt="leaf\n")
    (tmp_path / ".python-version").write_text("3.13\n")
    assert None not in (first, recipe(tmp_path))
    assert first != recipe(tmp_path)


def test_a_lock_of_the_scripts_own(tmp_path: Path) -> None:
    """uv heeds `job.py.lock` where it is; a script with a header goes alone, but for `--in`."""
    header = "# /// script\n# dependencies = ['leaf']\n# ///\n"
    (tmp_path / "job.py").write_text(header)
    (tmp_path / "job.py.lock").write_text("version = 1\n")
    order = Order(Program("script", "job.py"), inputs=["job.py.lock"])
    assert recipe(tmp_path) is not None
    assert recipe_of(plan_job(order, tmp_path, {}), "x86_64") is None


def test_what_comes_from_s3_or_from_an_earlier_attempt_is_not_known(tmp_path: Path) -> None:
    (tmp_path / "requirements.txt").write_text("leaf\n")
    (tmp_path / "job.py").write_text("print()\n")
    order = Order(Program("script", "job.py"))
    job = plan_job(order, tmp_path, {})
    assert recipe_of(job, "x86_64", ["data.csv"]) is not None
    for place in ("uv.toml", ".python-version", "requirements.txt"):
        assert recipe_of(job, "x86_64", [place]) is None
    written = read_spot(spot=True, max_price=None, checkpoint="uv.toml", or_on_demand=False)
    assert recipe_of(replace(job, spot=written), "x86_64") is None
    harmless = read_spot(spot=True, max_price=None, checkpoint="state.json", or_on_demand=False)
    assert recipe_of(replace(job, spot=harmless), "x86_64") is not None


def test_words_that_are_no_text(tmp_path: Path) -> None:
    """Two different files must not be the same one because neither can be read."""
    (tmp_path / "job.py").write_text("print()\n")
    (tmp_path / "requirements.txt").write_bytes(b"leaf # \xff\n")
    assert recipe(tmp_path) is None


@pytest.mark.parametrize(
    "content", ["project = 1\n", "[project]\ndependencies = 1\n", "[project]\ndependencies = [1]\n"]
)
def test_projects_that_say_nonsense_are_uvs_to_refuse(tmp_path: Path, content: str) -> None:
    (tmp_path / "pyproject.toml").write_text(content)
    (tmp_path / "job.py").write_text("print()\n")
    job = plan_job(Order(Program("script", "job.py")), tmp_path, {})
    found = recipe_of(replace(job, environment=Environment("project", "")), "x86_64")
    assert (found is None) == (content != "project = 1\n")
