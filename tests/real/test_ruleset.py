"""Changes of a ruleset, made in the kernel: what is there afterwards is what a fresh table would be."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.killed_runs import own_name

from skylift.cloud.compute.network.namespace import Namespace, create_namespace, remove_namespace
from skylift.cloud.compute.network.ruleset import Collection, Ruleset

pytestmark = pytest.mark.real

GROUPS = ("a", "b", "c")
PORTS = st.lists(st.integers(1, 5), max_size=3, unique=True)
LINKS = st.dictionaries(st.sampled_from(["e1", "e2", "e3", "e4"]), st.sampled_from(GROUPS))


@st.composite
def rulesets(draw: st.DrawFn) -> Ruleset:
    """Tables of the firewall's make: chains that name sets, a map that names chains, and a base chain that stays."""
    groups = draw(st.sets(st.sampled_from(GROUPS)))
    chains = {
        f"in-{one}": tuple(f"ip saddr @m-{one} tcp dport {port} accept" for port in draw(PORTS)) for one in groups
    }
    members = {
        f"m-{one}": Collection.set("ipv4_addr", [f"10.0.0.{number}" for number in draw(PORTS)]) for one in groups
    }
    links = {f'"{link}"': f"jump in-{group}" for link, group in draw(LINKS).items() if group in groups}
    hook = ("type filter hook forward priority filter; policy drop;", "oifname vmap @of")
    return Ruleset("t", {**members, "of": Collection.map("ifname : verdict", links)}, {**chains, "forward": hook})


@pytest.fixture(scope="module")
def namespace() -> Iterator[Namespace]:
    name = own_name()
    create_namespace(name)
    try:
        namespace = Namespace.open(name)
        yield namespace
        namespace.close()
    finally:
        remove_namespace(name)


def listed(namespace: Namespace) -> dict[str, list[str]]:
    """The table as the kernel has it: sets, maps and chains by name, with elements sorted and rules in order."""

    def run() -> str:
        command = ["nft", "--json", "list", "table", "inet", "t"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    found: dict[str, list[str]] = {}
    for entry in json.loads(namespace.run(run))["nftables"]:
        ((kind, content),) = entry.items()
        content.pop("handle", None)
        if kind in ("set", "map"):
            found[f"{kind} {content['name']}"] = sorted(json.dumps(one) for one in content.pop("elem", []))
        elif kind == "chain":
            found[f"chain {content['name']}"] = [json.dumps(content)]
        elif kind == "rule":
            found[f"chain {content['chain']}"].append(json.dumps(content["expr"]))
    return found


@settings(max_examples=40, suppress_health_check=[*HealthCheck])
@given(old=rulesets(), new=rulesets())
def test_a_change_leads_where_a_fresh_start_would(namespace: Namespace, old: Ruleset, new: Ruleset) -> None:
    namespace.load(new.script())
    fresh = listed(namespace)
    namespace.load(old.script())
    change = new.change_from(old)
    assert (change == "") == (old == new)
    if change:
        namespace.load(change)
    assert listed(namespace) == fresh
