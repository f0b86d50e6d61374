"""Which files travel."""

from __future__ import annotations

import os
import socket
import subprocess
import zlib
from pathlib import Path

import pytest
from made_bundles import packed, unpacked, write

from skylift.client.errors import UsageError
from skylift.client.job.job import Bundle
from skylift.client.ship import bundle as bundling
from skylift.client.ship.blob_store import large_files
from skylift.client.ship.bundle import find_project, list_project, plan_bundle


def git(folder: Path, *words: str) -> None:
    command = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-C", str(folder), *words]
    subprocess.run(command, check=True, capture_output=True)


def places(bundle: Bundle) -> list[str]:
    return [each.place for each in bundle.files]


def test_git_project_goes_by_its_ignore_rules(tmp_path: Path) -> None:
    write(tmp_path, "a.py", "sub/b.py", "data/big.bin", "sub/.env", "untracked.txt", "build/out.o")
    write(tmp_path, ".gitignore", text="/data\n.env\nbuild/\n")
    git(tmp_path, "init")
    git(tmp_path, "add", "a.py", "sub/b.py")
    assert list_project(tmp_path) == [".gitignore", "a.py", "sub/b.py", "untracked.txt"]


def test_virtual_environments_stay_unless_they_are_named(tmp_path: Path) -> None:
    """The venv module of Python 3.12 and before writes no .gitignore, and conda none at all."""
    write(tmp_path, "a.py", "venv/pyvenv.cfg", "venv/bin/python", "sub/env/conda-meta/history", "sub/env/lib/x.so")
    write(tmp_path, "venv2/x", "pyvenv.cfg")
    git(tmp_path, "init")
    assert places(plan_bundle(tmp_path, tmp_path, [], [])) == ["a.py", "pyvenv.cfg", "venv2/x"]
    named = plan_bundle(tmp_path, tmp_path, [], ["venv"])
    assert places(named) == ["a.py", "pyvenv.cfg", "venv/bin/python", "venv/pyvenv.cfg", "venv2/x"]


def test_tracked_file_that_was_deleted_does_not_stop_it(tmp_path: Path) -> None:
    write(tmp_path, "a.py", "gone.py")
    git(tmp_path, "init")
    git(tmp_path, "add", ".")
    (tmp_path / "gone.py").unlink()
    assert list_project(tmp_path) == ["a.py"]


def test_tracked_file_goes_even_when_it_is_ignored(tmp_path: Path) -> None:
    write(tmp_path, "kept.log", "other.log")
    git(tmp_path, "init")
    git(tmp_path, "add", "kept.log")
    write(tmp_path, ".gitignore", text="*.log\n")
    assert list_project(tmp_path) == [".gitignore", "kept.log"]


def test_nested_repository_goes_by_its_own_rules(tmp_path: Path) -> None:
    write(tmp_path, "a.py", "inner/b.py", "inner/secret")
    write(tmp_path / "inner", ".gitignore", text="secret\n")
    git(tmp_path, "init")
    git(tmp_path / "inner", "init")
    assert list_project(tmp_path) == ["a.py", "inner/.gitignore", "inner/b.py"]


def test_project_without_git_still_obeys_gitignore(tmp_path: Path) -> None:
    write(tmp_path, "pyproject.toml", "a.py", "junk/b")
    write(tmp_path, ".gitignore", text="junk\n")
    assert list_project(tmp_path) == [".gitignore", "a.py", "pyproject.toml"]
    assert not (tmp_path / ".git").exists()


def test_a_project_in_a_repository_goes_by_the_repositorys_rules(tmp_path: Path) -> None:
    """A package of a monorepo has a pyproject.toml, and no ignore rules of its own."""
    package, unpacked_here = tmp_path / "packages/one", tmp_path / "build/other"
    write(tmp_path, ".gitignore", text=".env\nbuild/\n")
    write(package, "pyproject.toml", "a.py", ".env", "sub/.env", "sub/kept.py", "own.log")
    write(package, ".gitignore", text="*.log\n")
    write(unpacked_here, "pyproject.toml", "a.py")
    git(tmp_path, "init")
    assert list_project(package) == [".gitignore", "a.py", "pyproject.toml", "sub/kept.py"]
    assert list_project(unpacked_here) == ["a.py", "pyproject.toml"], "the repository does not count it as its own"
    (tmp_path / ".git/HEAD").write_text("nonsense")
    assert ".env" in list_project(package), "there is no repository"


def test_names_that_git_would_quote(tmp_path: Path) -> None:
    write(tmp_path, 'quo"te.py', "new\nline.py", "ünï.py", " lead.py")
    git(tmp_path, "init")
    assert set(list_project(tmp_path)) == {'quo"te.py', "new\nline.py", "ünï.py", " lead.py"}
    assert set(unpacked(plan_bundle(tmp_path, tmp_path, [], []))) == set(list_project(tmp_path))


@pytest.mark.parametrize("mark", ["pyproject.toml", ".git/HEAD"])
def test_project_is_the_nearest_folder_with_a_mark(tmp_path: Path, mark: str) -> None:
    write(tmp_path, mark, "deep/er/x.py")
    assert find_project(tmp_path / "deep" / "er") == tmp_path


def test_home_is_nobodys_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "pyproject.toml", "work/x.py")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find_project(tmp_path / "work") is None


def test_a_home_behind_a_link_is_nobodys_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell's working directory is the real path, and so is what it would send."""
    write(tmp_path, "disk/ann/pyproject.toml", "disk/ann/work/x.py")
    (tmp_path / "home").symlink_to("disk")
    monkeypatch.setenv("HOME", str(tmp_path / "home" / "ann"))
    assert find_project(tmp_path / "disk" / "ann" / "work") is None
    assert find_project(tmp_path / "home" / "ann" / "work") is None


def test_inputs_keep_their_place(tmp_path: Path) -> None:
    write(tmp_path, "data/a.csv", "data/deep/b.csv", "data/c.txt", "one.txt")
    bundle = plan_bundle(tmp_path, None, [], ["data/**/*.csv", "one.txt", str(tmp_path / "data" / "c.txt")])
    assert places(bundle) == ["data/a.csv", "data/c.txt", "data/deep/b.csv", "one.txt"]
    assert bundle.size == 4


def test_folder_is_taken_whole_also_what_git_ignores(tmp_path: Path) -> None:
    write(tmp_path, "a.py", "data/x", "data/deep/y")
    write(tmp_path, ".gitignore", text="data\n")
    git(tmp_path, "init")
    assert places(plan_bundle(tmp_path, tmp_path, [], ["data"])) == [".gitignore", "a.py", "data/deep/y", "data/x"]


def test_inputs_inside_the_project_but_above_the_working_directory(tmp_path: Path) -> None:
    write(tmp_path, "pyproject.toml", "shared/x.csv", "app/a.py")
    write(tmp_path, ".gitignore", text="shared\n")
    bundle = plan_bundle(tmp_path / "app", tmp_path, [], ["../shared/x.csv"])
    assert "shared/x.csv" in places(bundle)
    assert bundle.cwd == "app"


def test_input_outside_is_an_error_with_advice(tmp_path: Path) -> None:
    write(tmp_path, "other.txt", "work/x.py")
    with pytest.raises(UsageError, match=r"other\.txt is outside") as caught:
        plan_bundle(tmp_path / "work", None, [], ["../other.txt"])
    assert caught.value.advice


@pytest.mark.parametrize("text", ["nothing", "nothing-*.csv", "sub/nothing"])
def test_input_that_is_not_there(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match="nothing"):
        plan_bundle(tmp_path, None, [], [text])


def test_file_with_a_name_like_a_glob(tmp_path: Path) -> None:
    write(tmp_path, "a[1].csv")
    assert places(plan_bundle(tmp_path, None, [], ["a[1].csv"])) == ["a[1].csv"]


def test_unreadable_input_is_told_before_anything_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "secret.txt")
    # Root may read everything, so the kernel's answer is given here.
    monkeypatch.setattr(os, "access", lambda path, mode: not str(path).endswith("secret.txt"))
    with pytest.raises(UsageError, match=r"secret\.txt cannot be read"):
        plan_bundle(tmp_path, None, [], ["secret.txt"])


def test_special_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    write(tmp_path, "a.py", "pyproject.toml")
    with pytest.raises(UsageError, match="not a regular file"):
        plan_bundle(tmp_path, None, [], ["pipe"])


def test_links(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    project = tmp_path / "project"
    write(outside, "big.bin", text="12345")
    write(project, "pyproject.toml", "a.py", "sub/b.py")
    git(project, "init")
    (project / "inside").symlink_to("a.py")
    (project / "folder").symlink_to("sub")
    (project / "far").symlink_to(outside / "big.bin")
    (project / "far-folder").symlink_to(outside)
    (project / "nowhere").symlink_to("missing")
    bundle = plan_bundle(project, project, [], [])
    entries = unpacked(bundle)
    assert entries["inside"].linkname == "a.py"
    assert entries["folder"].linkname == "sub"
    assert not {"far", "far-folder", "nowhere"} & set(entries)
    assert [note.split()[0] for note in bundle.notes] == ["far", "far-folder", "nowhere"]
    assert f"to {outside / 'big.bin'}, and stays here; --in far sends it" in bundle.notes[0]


def test_link_to_a_folder_is_taken_by_in(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    project = tmp_path / "project"
    write(outside, "big.bin", "deep/small.bin")
    write(project, "pyproject.toml")
    (project / "data").symlink_to(outside)
    bundle = plan_bundle(project, project, [], ["data"])
    assert {name for name, entry in unpacked(bundle).items() if entry.isreg()} == {
        "pyproject.toml",
        "data/big.bin",
        "data/deep/small.bin",
    }


def test_link_in_the_project_and_its_content_by_in(tmp_path: Path) -> None:
    write(tmp_path, "pyproject.toml", "sub/b.py")
    git(tmp_path, "init")
    (tmp_path / "folder").symlink_to("sub")
    entries = unpacked(plan_bundle(tmp_path, tmp_path, [], ["folder"]))
    assert set(entries) == {"pyproject.toml", "sub/b.py", "folder/b.py"}


def test_script_outside_goes_alone_under_its_own_name(tmp_path: Path) -> None:
    write(tmp_path, "elsewhere/x.py", "work/y.py")
    bundle = plan_bundle(tmp_path / "work", None, [tmp_path / "elsewhere" / "x.py"], [])
    assert [(each.place, each.path) for each in bundle.files] == [("x.py", tmp_path / "elsewhere" / "x.py")]


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A project beside a private key."""
    folder = tmp_path / "project"
    write(folder, "pyproject.toml", "a.py", "sub/b.py", "sub/keep")
    git(folder, "init")
    write(tmp_path, ".ssh/id_ed25519", text="secret")
    return folder


@pytest.mark.parametrize(
    "links",
    [
        {"data.txt": "../.ssh/id_ed25519"},
        {"data.txt": "ABSOLUTE/.ssh/id_ed25519"},
        {"data.txt": "sub/first", "sub/first": "../second", "second": "../.ssh/id_ed25519"},
        {"data.txt": "folder/id_ed25519", "folder": "../.ssh"},
        {"data.txt": "sub/../../.ssh/id_ed25519"},
        {"data.txt": "/proc/self/cwd/../.ssh/id_ed25519"},
        {"data.txt": "/proc/self/root/ABSOLUTE/.ssh/id_ed25519"},
        {"data.txt": "/proc/self/environ"},
        {"sub/data.txt": "../../.ssh"},
    ],
)
@pytest.mark.parametrize("versioned", [True, False])
def test_nothing_leads_out_of_the_project(
    foreign: Path, links: dict[str, str], versioned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(foreign)
    for place, target in links.items():
        (foreign / place).symlink_to(target.replace("ABSOLUTE", str(foreign.parent)))
    if versioned:
        git(foreign, "add", ".")
    bundle = plan_bundle(foreign, foreign, [], [])
    assert b"secret" not in zlib.decompress(packed(bundle), wbits=31)
    first = next(iter(links))
    assert first not in places(bundle)
    (note,) = [each for each in bundle.notes if each.startswith(f"{first} ")]
    assert "leads out of" in note
    assert f"--in {first} sends it" in note


@pytest.mark.parametrize("target", [".env", "secrets/key", "sub/first"])
def test_a_link_to_what_git_ignores_stays(foreign: Path, target: str) -> None:
    """The link comes with the project. What it leads to is the user's."""
    write(foreign, ".env", "secrets/key", text="treasure")
    (foreign / "sub").mkdir(exist_ok=True)
    (foreign / "sub/first").symlink_to("../.env")
    write(foreign, ".gitignore", text=".env\nsecrets/\n")
    (foreign / "data.txt").symlink_to(target)
    git(foreign, "add", ".")
    bundle = plan_bundle(foreign, foreign, [], [])
    assert b"treasure" not in zlib.decompress(packed(bundle), wbits=31)
    assert "data.txt is a link to what git ignores and stays here; --in data.txt sends it" in bundle.notes
    assert unpacked(plan_bundle(foreign, foreign, [], ["data.txt"]))["data.txt"].size == 8


def test_a_link_that_is_named_by_itself_goes(foreign: Path) -> None:
    (foreign / "data.txt").symlink_to("../.ssh/id_ed25519")
    entries = unpacked(plan_bundle(foreign, foreign, [], ["data.txt"]))
    assert (entries["data.txt"].isreg(), entries["data.txt"].size) == (True, 6)


@pytest.mark.parametrize("text", ["*.txt", "sub", "sub/*", "**/*.txt", ".", "folder/*"])
def test_a_link_that_is_only_matched_is_not_meant(foreign: Path, text: str) -> None:
    """An error, and not a note: who asks for a folder counts on all that is in it."""
    (foreign / "data.txt").symlink_to("../.ssh/id_ed25519")
    (foreign / "sub/data.txt").symlink_to("../../.ssh/id_ed25519")
    (foreign / "folder").symlink_to("../.ssh")
    with pytest.raises(UsageError, match="is a link that leads out of") as caught:
        plan_bundle(foreign, foreign, [], [text])
    assert "--in " in caught.value.advice
    (foreign / "sub/data.txt").unlink()
    (foreign / "data.txt").unlink()
    (foreign / "folder").unlink()
    assert plan_bundle(foreign, foreign, [], ["sub"]).files


def test_a_link_in_a_folder_may_be_named_beside_it(foreign: Path) -> None:
    (foreign / "sub/more").symlink_to("../../.ssh")
    for inputs in (["sub", "sub/more"], ["sub/more", "sub"], ["sub/*", "sub/more"]):
        assert "sub/more/id_ed25519" in places(plan_bundle(foreign, foreign, [], inputs))


def test_links_in_a_folder_elsewhere_stay_in_it(foreign: Path) -> None:
    """`--in` of a link to a folder: what leads from there to somewhere else again is not meant."""
    write(foreign.parent, "big/one.csv", "big/deep/two.csv")
    (foreign.parent / "big/same").symlink_to("deep/two.csv")
    (foreign / "data").symlink_to("../big")
    assert "data/same" in places(plan_bundle(foreign, foreign, [], ["data"]))
    (foreign.parent / "big/key").symlink_to("../.ssh/id_ed25519")
    with pytest.raises(UsageError, match="leads out of"):
        plan_bundle(foreign, foreign, [], ["data"])


def test_gits_own_files_are_not_the_projects(foreign: Path) -> None:
    """`.git/config` has the tokens of remotes."""
    (foreign / "settings").symlink_to(".git/config")
    (foreign / "all").symlink_to(".git")
    bundle = plan_bundle(foreign, foreign, [], [])
    assert not {"settings", "all"} & set(places(bundle))
    assert [note.split()[0] for note in bundle.notes] == ["all", "settings"]
    (foreign / "sub/settings").symlink_to("../.git/config")
    with pytest.raises(UsageError, match="git's own files"):
        plan_bundle(foreign, foreign, [], ["sub"])


def test_what_a_program_needs_is_no_way_out(foreign: Path) -> None:
    """Nobody names the requirements.txt beside a script."""
    write(foreign.parent, "loose/job.py")
    (foreign.parent / "loose/requirements.txt").symlink_to("../.ssh/id_ed25519")
    loose = foreign.parent / "loose"
    with pytest.raises(UsageError, match=r"requirements\.txt is a link that leads out"):
        plan_bundle(loose, None, [loose / "job.py"], [], [loose / "requirements.txt"])
    (foreign / "job.py").symlink_to("../.ssh/id_ed25519")
    with pytest.raises(UsageError, match=r"job\.py is a link that leads out"):
        plan_bundle(foreign, foreign, [foreign / "job.py"], [])


@pytest.mark.parametrize("target", [".", "..", "../sub", "ABSOLUTE/sub", "/proc/self/cwd/sub"])
def test_a_folder_with_a_link_to_itself_says_which(foreign: Path, target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(foreign)
    (foreign / "sub/loop").symlink_to(target.replace("ABSOLUTE", str(foreign)))
    with pytest.raises(UsageError, match=r"sub/loop is a link to .*goes round in a circle"):
        plan_bundle(foreign, foreign, [], ["sub"])


def test_folders_with_links_to_each_other(foreign: Path) -> None:
    write(foreign, "two/x/one", "two/y/one")
    (foreign / "two/x/y").symlink_to("../y")
    assert "two/x/y/one" in places(plan_bundle(foreign, foreign, [], ["two"]))
    (foreign / "two/y/x").symlink_to("../x")
    with pytest.raises(UsageError, match="goes round in a circle"):
        plan_bundle(foreign, foreign, [], ["two"])


def test_links_that_lead_on_from_each_other_without_end_stay_here(tmp_path: Path) -> None:
    """The kernel follows forty, and Python as many as it likes, by version."""
    write(tmp_path, "a.py", ".git/HEAD")
    for number in range(50):
        (tmp_path / str(number)).symlink_to(str(number + 1) if number < 49 else "a.py")
    chosen = bundling._Chosen(tmp_path)
    for place in ("a.py", "0"):
        chosen.take_listed(place, frozenset(["a.py", "0"]))
    assert places(chosen.bundle(tmp_path)) == ["a.py"]
    with pytest.raises(UsageError, match="0 is "):
        plan_bundle(tmp_path, None, [], ["0"])


def test_globs_do_not_follow_links_to_folders_round_in_circles(foreign: Path) -> None:
    for name in ("one", "two", "three"):
        (foreign / "sub" / name).symlink_to(".")
    with pytest.raises(UsageError, match="nothing matches"):
        plan_bundle(foreign, foreign, [], ["**/*.csv"])
    assert "sub/b.py" in places(plan_bundle(foreign, foreign, [], ["**/*.py"]))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("d/*", {"d/a.csv", "d/e/b.csv", "d/e/.hidden"}),
        ("d/.*", {"d/.hidden", "d/.f/c.csv"}),
        ("d/*.csv", {"d/a.csv"}),
        ("d/**/*.csv", {"d/a.csv", "d/e/b.csv"}),
        ("**/b.csv", {"d/e/b.csv"}),
        ("d/[ab].csv", {"d/a.csv"}),
        ("./d/?/b.*", {"d/e/b.csv"}),
        ("d/e/../*.csv", {"d/a.csv"}),
        ("*/e/*", {"d/e/b.csv"}),
    ],
)
def test_what_globs_match(tmp_path: Path, text: str, found: set[str]) -> None:
    write(tmp_path, "d/a.csv", "d/e/b.csv", "d/.hidden", "d/e/.hidden", "d/.f/c.csv")
    assert set(places(plan_bundle(tmp_path, None, [], [text]))) == found
    assert set(places(plan_bundle(tmp_path, None, [], [f"{tmp_path}/{text}"]))) == found


def test_a_fan_of_links_has_an_end(foreign: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two links from each folder to the next: twenty folders have a million files."""
    monkeypatch.setattr(bundling, "_MOST_FILES", 1000)
    for number in range(20):
        write(foreign, f"fan/{number}/file")
        for name in ("left", "right"):
            (foreign / f"fan/{number}" / name).symlink_to(f"../{number + 1}")
    write(foreign, "fan/20/file")
    with pytest.raises(UsageError, match="more than 1000 files"):
        plan_bundle(foreign, foreign, [], ["fan"])


def test_a_chain_of_links_has_an_end(foreign: Path) -> None:
    for number in range(60):
        write(foreign, f"chain/{number}/file")
        (foreign / f"chain/{number}/next").symlink_to(f"../{number + 1}")
    write(foreign, "chain/60/file")
    with pytest.raises(UsageError, match="40 links"):
        plan_bundle(foreign, foreign, [], ["chain"])


def test_deep_folders(foreign: Path) -> None:
    """Deeper than Python calls functions in each other."""
    deep = "/".join("d" * 1500)
    subprocess.run(["mkdir", "-p", deep], cwd=foreign, check=True)
    try:
        (foreign / deep / "x").write_text("x")
        assert f"{deep}/x" in places(plan_bundle(foreign, foreign, [], ["d"]))
    finally:
        # pytest, too, calls a function a folder when it clears away.
        subprocess.run(["rm", "-r", "d"], cwd=foreign, check=True)


@pytest.mark.parametrize("swap", ["link", "file", "folder link", "pipe"])
@pytest.mark.parametrize("size", [1, bundling._LARGE])
def test_what_is_sent_is_what_was_looked_at(foreign: Path, swap: str, size: int) -> None:
    """Another program changes the project between the look and the sending."""
    (foreign / "sub/b.py").write_bytes(b"x" * size)
    bundle = plan_bundle(foreign, foreign, [], [])
    path, secret = foreign / "sub/b.py", foreign.parent / ".ssh/id_ed25519"
    path.rename(foreign.parent / "before")
    if swap == "link":
        path.symlink_to(secret)
    elif swap == "file":
        secret.rename(path)
    elif swap == "pipe":
        os.mkfifo(path)
    else:
        (foreign / "sub").rename(foreign.parent / "sub")
        (foreign / "sub").symlink_to(foreign.parent / ".ssh")
        secret.rename(foreign.parent / ".ssh/b.py")
        (foreign.parent / ".ssh/keep").write_text("x")
    with pytest.raises(UsageError, match=r"(b\.py|keep) cannot be read"):
        packed(bundle)
        large_files(bundle)


def test_project_of_a_size_that_nobody_means(foreign: Path) -> None:
    """A sparse file costs nothing to make."""
    with (foreign / "huge").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(UsageError, match=r"1024 GiB of files, the largest of which is huge") as caught:
        plan_bundle(foreign, foreign, [], [])
    assert ".gitignore" in caught.value.advice
    write(foreign, ".gitignore", text="huge\n")
    assert "huge" in places(plan_bundle(foreign, foreign, [], ["huge"]))


def test_special_files_of_a_project_stay_here(foreign: Path) -> None:
    os.mkfifo(foreign / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(foreign / "s"))
        (foreign / "zeros").symlink_to("/dev/zero")
        bundle = plan_bundle(foreign, None, [], ["sub"])
        with pytest.raises(UsageError, match="not a regular file"):
            plan_bundle(foreign, None, [], ["zeros"])
        bundle = plan_bundle(foreign, foreign, [], [])
    assert {"pipe", "s", "zeros"}.isdisjoint(places(bundle))


def test_names_cannot_speak_to_the_terminal(foreign: Path) -> None:
    name = "x\x1b]0;owned\x07\udcff"
    (foreign / name).symlink_to("../.ssh/id_ed25519")
    (note,) = plan_bundle(foreign, foreign, [], []).notes
    assert note.isprintable()
    assert "x\\x1b]0;owned\\x07\\udcff is a link" in note
    with pytest.raises(UsageError) as caught:
        plan_bundle(foreign, foreign, [], ["*"])
    assert caught.value.message.isprintable()
    assert caught.value.advice.isprintable()


def test_names_that_are_no_utf8_travel(foreign: Path) -> None:
    write(foreign, "\udcff.txt", "-rf", " ")
    assert {"\udcff.txt", "-rf", " "} <= set(unpacked(plan_bundle(foreign, foreign, [], [])))


def test_a_folder_that_everybody_writes_to_is_nobodys_project(tmp_path: Path) -> None:
    """As /tmp: a pyproject.toml there is somebody else's."""
    write(tmp_path, "pyproject.toml", "mine/job.py")
    tmp_path.chmod(0o1777)
    assert find_project(tmp_path / "mine") is None
    assert find_project(tmp_path) is None
    tmp_path.chmod(0o755)
    assert find_project(tmp_path / "mine") == tmp_path
