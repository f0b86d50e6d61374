"""The console in a browser, with a real cloud behind it."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, expect
from support.browser import Tab, another
from support.real_cloud import RealCloud
from support.real_server import Server
from support.shown_console import HOSTILE, Console

from skylift.console.entry import COOKIE

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("all_well")]

TAGS = {"Name": HOSTILE, ":x": "window.hacked = 1", "team": "c4t5"}


@pytest.fixture(scope="module")
def server(cloud: RealCloud) -> Server:
    """Not waited for: the console shows how it comes up."""
    tags = [{"Key": key, "Value": value} for key, value in TAGS.items()]
    return cloud.start(TagSpecifications=[{"ResourceType": "instance", "Tags": tags}])


def test_instances_are_listed_stopped_and_looked_at(tab: Tab, cloud: RealCloud, server: Server) -> None:
    page = tab.page
    row = page.locator(f".ag-row[row-id='{server.id}']")
    expect(row.locator(".state")).to_have_text("running")
    expect(row).to_contain_text(HOSTILE)
    page.get_by_label("Filter", exact=True).fill("c4t5")
    expect(page.locator(".ag-center-cols-container .ag-row")).to_have_count(1)
    row.locator("input[type=checkbox]").click()
    page.get_by_role("button", name="Stop", exact=True).click()
    question = page.get_by_role("dialog")
    expect(question).to_contain_text(server.id)
    expect(question.locator("code")).to_have_text(f"aws ec2 stop-instances --instance-ids {server.id}")
    question.get_by_role("button", name="Stop", exact=True).click()
    expect(row.locator(".state")).to_have_text("stopped")
    assert server.state == "stopped"
    page.keyboard.press("Control+k")
    page.keyboard.type(server.id[:12])
    expect(page.locator(".hit").first).to_contain_text(server.id)
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(f"/instances/{server.id}$"))
    for name, shown in {"Details": server.id, "Tags": TAGS[":x"], "Storage": "deleted with the instance"}.items():
        page.get_by_role("tab", name=name).click()
        expect(page.get_by_role("tabpanel")).to_contain_text(shown)
    # What a bookmark says is found again, with its tab; Back leads to the page before, and forward to the tab.
    storage = page.get_by_role("tab", name="Storage", selected=True)
    expect(page).to_have_url(re.compile(f"/instances/{server.id}\\?tab=storage$"))
    page.reload()
    expect(storage).to_have_count(1)
    expect(page.get_by_role("tabpanel")).to_contain_text("deleted with the instance")
    page.go_back()
    expect(row.locator(".state")).to_have_text("stopped")
    page.go_forward()
    expect(storage).to_have_count(1)
    page.get_by_role("button", name="Start", exact=True).click()
    page.get_by_role("dialog").get_by_role("button", name="Start", exact=True).click()
    expect(page.locator(".state").first).to_have_text("running")


def test_a_key_is_made_and_an_instance_launched_with_it(tab: Tab, cloud: RealCloud) -> None:
    page, group = tab.page, cloud.ssh_only
    page.get_by_role("link", name="Key pairs").click()
    page.get_by_role("button", name="Create key pair").first.click()
    question = page.get_by_role("dialog")
    question.get_by_label("Name").fill("of the page")
    with page.expect_download() as download:
        question.get_by_role("button", name="Create", exact=True).click()
    assert download.value.suggested_filename == "of_the_page.pem"
    assert "PRIVATE KEY" in Path(download.value.path()).read_text()
    page.get_by_role("link", name="Launch").click()
    page.get_by_label("Name", exact=True).fill("from the page")
    page.get_by_label("Type", exact=True).fill("t3.nothing")
    expect(page.get_by_text("There is no type 't3.nothing'.")).to_be_visible()
    page.get_by_role("button", name="Choose by need").click()
    question.get_by_label("GiB, at least").fill("2")
    expect(question.get_by_role("button", name="Choose t3.nano")).to_have_count(0)
    question.get_by_role("button", name="Choose t3.small").click()
    page.get_by_label("Key pair", exact=True).select_option("of the page")
    page.get_by_label("Security group", exact=True).select_option(group)
    expect(page.locator(".summary code")).to_contain_text("--instance-type t3.small --count 1 --key-name 'of the page'")
    expect(page.get_by_label("Type", exact=True)).to_have_value("t3.small")
    page.get_by_role("button", name="Launch", exact=True).click()
    expect(page).to_have_url(re.compile("/instances/i-"))
    expect(page.locator(".state").first).to_have_text("running")
    expect(page.get_by_label("Progress").locator(".step-done")).to_have_text(
        ["It is launched", "It runs", "SSH answers"]
    )
    expect(page).to_have_url(re.compile("/instances/i-[0-9a-f]+$"))
    page.get_by_role("link", name="Instances").click()
    page.get_by_label("Filter", exact=True).fill("from the page")
    expect(page.locator(".ag-center-cols-container .ag-row")).to_have_count(1)
    page.locator(".ag-row").get_by_role("link", name=re.compile("^i-")).click()
    page.get_by_role("button", name="Terminate").click()
    expect(question).to_contain_text("is deleted with it")
    question.get_by_role("button", name="Terminate", exact=True).click()
    expect(page.locator(".state").first).to_have_text("terminated")


def test_each_row_is_dark_in_the_dark(tab: Tab, console: Console) -> None:
    page = tab.page
    tab.go(f"http://{console.host}/instances")
    page.emulate_media(color_scheme="dark")
    odd = page.locator(".ag-center-cols-container .ag-row-odd").first
    expect(odd).not_to_have_css("background-color", "rgb(255, 255, 255)")
    page.emulate_media(color_scheme="light")


def test_errors_that_stay_are_told_once_and_fit_on_the_screen(tab: Tab, console: Console) -> None:
    page = tab.page
    tab.go(f"http://{console.host}/instances")
    page.evaluate("for (let at = 0; at < 60; at++) skyliftTellTrouble(`Nothing answers ${at % 30}.`, 'Try again.')")
    troubles = page.locator("#troubles .trouble")
    expect(troubles).to_have_count(30)
    expect(troubles.last).to_be_in_viewport()
    # The first one can be reached, too.
    troubles.first.get_by_role("button", name="Close").click()
    expect(troubles).to_have_count(29)
    page.locator("#troubles").evaluate("(troubles) => troubles.replaceChildren()")


def test_an_address_that_leads_nowhere_leads_on(tab: Tab, console: Console) -> None:
    # The browser tells of it when it likes, before the page or after it.
    with tab.page.expect_event("console", lambda said: said.type == "error") as missing:
        tab.go(f"http://{console.host}/nowhere")
    expect(tab.page.get_by_role("heading", name="There is no such page")).to_be_visible()
    assert "404" in missing.value.text
    tab.wrong.remove(missing.value.text)


def test_an_address_is_allocated_given_and_taken(tab: Tab, server: Server) -> None:
    page = tab.page
    server.await_state("running")
    page.get_by_role("link", name="Elastic IPs").click()
    page.get_by_role("button", name="Allocate").first.click()
    question = page.get_by_role("dialog")
    question.get_by_label("Name").fill("of the walk")
    question.get_by_role("button", name="Allocate", exact=True).click()
    row = page.locator(".ag-row", has_text="of the walk")
    row.locator("input[type=checkbox]").click()
    page.get_by_role("button", name="Associate", exact=True).click()
    question.get_by_label("Instance", exact=True).select_option(server.id)
    question.get_by_role("button", name="Associate", exact=True).click()
    expect(row).to_contain_text(server.id)
    # It is still selected, and what can be done with it is another thing now.
    expect(page.get_by_role("button", name="Associate", exact=True)).to_be_disabled()
    page.get_by_role("button", name="Disassociate", exact=True).click()
    question.get_by_role("button", name="Disassociate", exact=True).click()
    expect(row).not_to_contain_text(server.id)
    page.get_by_role("button", name="Release", exact=True).click()
    question.get_by_role("button", name="Release", exact=True).click()
    expect(row).to_have_count(0)


def test_a_shell_is_in_the_page_and_is_found_again(tab: Tab, console: Console, server: Server) -> None:
    page = tab.page
    server.await_state("running")
    server.await_ssh()
    tab.go(f"http://{console.host}/connect/{server.id}")
    screen = page.locator(".xterm-rows")
    expect(screen).to_contain_text("ec2-user@")
    page.keyboard.type("echo $((6 * 7))-$LANG; kept=yes\n")
    expect(screen).to_contain_text("42-C.UTF-8")
    # What is selected is copied by Ctrl-C, and is pasted by the browser's own key.
    tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.evaluate("getElement(document.querySelector('.terminal').id.slice(1)).terminal.selectAll()")
    page.keyboard.press("Control+c")
    page.wait_for_function("async () => (await navigator.clipboard.readText()).includes('42-C.UTF-8')")
    page.evaluate("navigator.clipboard.writeText('echo pasted-$((3 * 3))')")
    page.keyboard.press("Control+Shift+V")
    expect(screen).to_contain_text("echo pasted-")
    page.keyboard.press("Enter")
    expect(screen).to_contain_text("pasted-9")
    # The server hears of another size of the page.
    page.keyboard.type(
        'was=$(stty size); echo was-$((2 + 3)); until [ "$(stty size)" != "$was" ]; do sleep 0.1; done\n'
    )
    expect(screen).to_contain_text("was-5")
    page.set_viewport_size({"width": 1100, "height": 600})
    page.keyboard.type("echo other-$((2 + 3))\n")
    expect(screen).to_contain_text("other-5")
    # Tab is the shell's key, and another one leads out.
    page.keyboard.type("echo $((40 + 3)) >/tmp/tab-is-mine\ncat /tmp/tab-is")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(screen).to_contain_text("43")
    page.keyboard.press("Control+Shift+K")
    expect(page.get_by_role("searchbox", name="Search by id")).to_be_focused()
    page.get_by_role("button", name="Full screen").click()
    page.wait_for_function("document.fullscreenElement?.matches('.terminal')")
    page.evaluate("document.exitFullscreen()")
    # It is the one that is in the address, also for who comes by a link.
    number = re.compile(f"/connect/{server.id}\\?tab=[0-9]+$")
    expect(page).to_have_url(number)
    page.get_by_role("link", name="Details").click()
    page.get_by_role("button", name="Connect", exact=True).click()
    expect(page).to_have_url(number)
    page.reload()
    expect(screen).to_contain_text("42-C.UTF-8")
    page.keyboard.type("echo still-$kept\n")
    expect(screen).to_contain_text("still-yes")
    page.get_by_role("button", name="Close shell").click()
    expect(page.get_by_text("There is no shell.")).to_be_visible()


READS = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:Get*", "Resource": "*"}]}'


def test_a_role_is_made_asked_about_and_given_to_an_instance(tab: Tab, cloud: RealCloud, server: Server) -> None:
    page, question = tab.page, tab.page.get_by_role("dialog")
    page.get_by_role("link", name="Roles", exact=True).click()
    page.get_by_role("button", name="Create role").first.click()
    question.get_by_label("Name", exact=True).fill("page+reads")
    question.get_by_role("button", name="Create", exact=True).click()
    page.get_by_role("button", name="Write a policy").click()
    page.get_by_label("Name", exact=True).fill("reads")
    document = page.get_by_label("Document (JSON)")
    document.fill(READS.replace("s3:Get*", HOSTILE))
    expect(page.locator(".complaints")).to_contain_text("is not of the form s3:GetObject")
    expect(page.get_by_role("button", name="Save")).to_be_disabled()
    document.fill(READS)
    expect(page.locator("code").first).to_contain_text("aws iam put-role-policy --role-name page+reads")
    page.get_by_role("button", name="Save").click()
    expect(page.locator("table.small")).to_contain_text("reads")
    page.get_by_role("tab", name="Simulator").click()
    page.get_by_role("button", name="Ask").click()
    expect(page.locator("tr", has_text="s3:GetObject")).to_contain_text("role_page+reads_reads")
    expect(page.locator("tr", has_text="s3:PutObject")).to_contain_text("no policy allows it")
    page.get_by_role("tab", name="Instances").click()
    page.get_by_label("Instance", exact=True).select_option(server.id)
    page.get_by_role("button", name="Attach to it").click()
    question.get_by_role("button", name="Attach", exact=True).click()
    expect(page.locator("table.small")).to_contain_text(server.id)
    assert server.describe()["IamInstanceProfile"]["Arn"].endswith("/page+reads")
    page.get_by_role("button", name="Delete role").click()
    expect(question).to_contain_text(f"{server.id} loses its permissions.")
    question.get_by_role("button", name="Delete", exact=True).click()
    expect(page).to_have_url(re.compile("/roles$"))
    assert "page+reads" not in {each["RoleName"] for each in cloud.client("iam").list_roles()["Roles"]}


def test_a_users_secret_is_shown_once(tab: Tab, cloud: RealCloud) -> None:
    page, question = tab.page, tab.page.get_by_role("dialog")
    page.get_by_role("link", name="Users", exact=True).click()
    page.get_by_role("button", name="Create user").first.click()
    question.get_by_label("Name", exact=True).fill("ada")
    question.get_by_role("button", name="Create", exact=True).click()
    page.get_by_role("button", name="Create key").click()
    question.get_by_role("button", name="Create", exact=True).click()
    expect(question).to_contain_text("AWS_SECRET_ACCESS_KEY=")
    page.keyboard.press("Escape")
    expect(question).to_have_count(0)
    (key,) = cloud.client("iam").list_access_keys(UserName="ada")["AccessKeyMetadata"]
    expect(page.locator("table.small")).to_contain_text(key["AccessKeyId"])
    assert "AWS_SECRET_ACCESS_KEY" not in page.content()
    page.get_by_role("button", name="Delete user").click()
    expect(question).to_contain_text(key["AccessKeyId"])
    question.get_by_role("button", name="Delete", exact=True).click()
    expect(page).to_have_url(re.compile("/users$"))
    assert "ada" not in {each["UserName"] for each in cloud.client("iam").list_users()["Users"]}


def test_a_type_is_found_by_need_and_ways_to_buy_it_compared(tab: Tab) -> None:
    page = tab.page
    page.get_by_role("link", name="Types and prices").first.click()
    page.get_by_label("vCPUs").fill("many")
    expect(page.get_by_role("alert")).to_contain_text("'many' is not a number of vCPUs")
    page.get_by_label("vCPUs").fill("2")
    expect(page.locator("code")).to_have_text("skylift types --cpu 2")
    page.get_by_label("Words").fill("t3.small")
    # The list before it has that type, too, and takes a click with it when it goes.
    expect(page.locator("code")).to_have_text("skylift types t3.small --cpu 2")
    page.get_by_role("link", name="t3.small").click()
    page.get_by_label("Hours a month").fill("600")
    expect(page.locator("code")).to_have_text("skylift price --type t3.small --hours 600 --time 3600s job.py")
    expect(page.locator("tr", has_text="reserved, 1 year")).to_contain_text("h a month")
    expect(page.get_by_role("img", name=re.compile("^A month by hours of use"))).to_be_visible()
    expect(page.get_by_role("img", name=re.compile("^Spot price by zone"))).to_be_attached()
    page.get_by_role("link", name="Launch one").click()
    expect(page.get_by_label("Type", exact=True)).to_have_value("t3.small")


def test_what_has_run_is_counted_as_the_bill_counts_it(tab: Tab, cloud: RealCloud, server: Server) -> None:
    page = tab.page
    page.get_by_role("link", name="Cost").click()
    page.get_by_label("By", exact=True).select_option("instance")
    expect(page.get_by_role("link", name=server.id)).to_be_visible()
    command = page.locator("code")
    expect(command).to_contain_text("skylift cloud bill --by instance --from")
    assert server.id in cloud.skylift(*shlex.split(command.inner_text())[1:]).stdout
    page.get_by_label("By", exact=True).select_option("type")
    expect(command).to_contain_text("--by type")
    expect(page.locator("table.wide tr", has_text="t3.micro")).to_contain_text("least")
    expect(page.get_by_role("img", name=re.compile("^USD a day"))).to_be_visible()


def test_each_screen_is_for_everybody_and_asks_nobody_else(
    browser: Browser, console: Console, server: Server, tmp_path: Path
) -> None:
    """axe finds nothing serious, in the dark or in the light; the browser's own log has the console's address only."""
    log = tmp_path / "net.json"
    with another(browser, f"--log-net-log={log}") as logged:
        tab = Tab(logged)
        page = tab.page
        page.goto(console.link())
        navigation = page.get_by_role("navigation")
        expect(navigation).to_be_visible()
        screens = [str(each.get_attribute("href")) for each in navigation.get_by_role("link").all()]
        assert len(screens) > 10
        for number, screen in enumerate(
            [*screens, "/create-vpc", "/new-job", f"/instances/{server.id}", f"/connect/{server.id}"]
        ):
            page.emulate_media(color_scheme="dark" if number % 2 else "light")
            if screen in screens:
                navigation.locator(f"a[href='{screen}']").click()
                expect(navigation.locator(f"a[href='{screen}']")).to_have_attribute("aria-current", "page")
            else:
                tab.go(f"http://{console.host}{screen}")
            expect(page.locator("h1")).to_be_visible()
            expect(page.locator(".waiting:visible")).to_have_count(0)
            assert page.locator("main, [role=main]").count() == 1, screen
            found = Axe().run(page).response["violations"]
            serious = [each for each in found if each["impact"] in ("serious", "critical")]
            assert serious == [], f"{screen}: {serious}"
    asked = json.loads(log.read_text())
    names = {number: name for name, number in asked["constants"]["logEventTypes"].items()}
    told = [(names[each["type"]], each.get("params", {})) for each in asked["events"]]
    connected = {params["address"] for name, params in told if name == "TCP_CONNECT_ATTEMPT" if "address" in params}
    assert connected == {console.host}
    assert {urlsplit(url).netloc for url in tab.asked if not url.startswith(("data:", "blob:"))} == {console.host}


def test_strangers_stay_outside(tab: Tab, console: Console, cloud: RealCloud) -> None:
    good = next(each["value"] for each in tab.context.cookies() if each["name"] == COOKIE)
    cookie = f"{COOKIE}={good}"
    assert console.ask("/", Cookie=cookie) == 200
    assert console.ask("/") == 401
    assert console.ask("/", Cookie=cookie, Host="rebound.example:4530") == 403
    assert console.ask("/", Cookie=cookie, Origin="http://127.0.0.1:8888") == 403
    used = urlsplit(console.link())
    assert console.ask(f"{used.path}?{used.query}") == 200
    assert console.ask(f"{used.path}?{used.query}") == 403
    assert tab.page.evaluate("document.cookie") == ""


def test_a_server_cannot_reach_it(console: Console, cloud: RealCloud, tab: Tab, server: Server) -> None:
    server.await_ssh()
    address, _, port = console.host.partition(":")
    tried = server.ssh(f"timeout 1 bash -c 'echo >/dev/tcp/{address}/{port}' 2>/dev/null && echo open || echo closed")
    assert tried.stdout.strip() == "closed"
