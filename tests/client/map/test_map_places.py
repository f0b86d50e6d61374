"""Where the results of each input come to."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skylift.client.errors import UsageError
from skylift.client.map.places import Template, check_places, read_template


def test_each_input_has_a_folder_by_its_number_or_its_name() -> None:
    assert Template().folder(3, "a/b.csv") == "out/3"
    assert read_template("sums/{stem}").folder(3, "a/b.tar.gz") == "sums/b.tar"
    assert read_template("sums/{index}-{name}").folder(3, "a/b.csv") == "sums/3-b.csv"
    assert read_template("{name}/").folder(0, ".hidden") == ".hidden"


@pytest.mark.parametrize("text", ["/tmp/{index}", "../{index}", "a/../../{name}", "~/{name}", "", "{size}", "{", "a}"])
def test_a_template_that_leads_elsewhere_or_means_nothing_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--into"):
        read_template(text)


@pytest.mark.parametrize("name", ["..", "a/..", ".", "", "a/", "x" * 256, "a\0b"])
def test_an_input_whose_name_no_folder_can_have_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match="cannot be a folder"):
        check_places(read_template("sums/{name}"), ["fine", name])
    check_places(Template(), ["fine", name])


def test_two_inputs_never_share_a_folder() -> None:
    with pytest.raises(UsageError, match=r"a/x.csv and of b/x.csv would both come into sums/x") as refused:
        check_places(read_template("sums/{stem}"), ["a/x.csv", "y", "b/x.csv"])
    assert "{index}" in refused.value.advice
    with pytest.raises(UsageError, match="would both come into sums"):
        check_places(read_template("sums"), ["a", "b"])
    check_places(read_template("{index}/{stem}"), ["a/x.csv", "b/x.csv"])


@given(
    st.lists(st.text(max_size=6), max_size=6),
    st.sampled_from(["{name}", "r/{stem}", "{index}/{name}", "{name}-{stem}"]),
)
def test_whatever_inputs_are_called_their_folders_are_below_and_apart(names: list[str], text: str) -> None:
    template = read_template(text)
    try:
        check_places(template, names)
    except UsageError:
        return
    folders = [Path("/home", template.folder(index, name)) for index, name in enumerate(names)]
    assert all(".." not in each.parts and each != Path("/home") for each in folders)
    assert not any(one.is_relative_to(other) for one in folders for other in folders if one is not other)
