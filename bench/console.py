"""The console in a browser: how soon it is there, how soon it tells of a change, and what it costs.

    sudo python bench/console.py [--rounds N] [--seconds N] [--instances N]

A cloud with one server is shown in Chromium. Then the endpoint alone is shown, with instances that nobody boots, all of
which change each second. The floors: Python that imports NiceGUI, an empty page in the same browser, and `ssh` on a
pseudo terminal to the same server. Processor time is the process's own, in percent of one core.

Needs Playwright and Chromium, as the tests do. As a program with other arguments it is a console of any endpoint.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import pty
import re
import select
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import beside_moto
from own_cloud import SKYLIFT, add_images_option, client, cloud_up, environment, server_with_key
from playwright.sync_api import Browser, Page, sync_playwright

from skylift.cloud.state.home import Home

QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
SCREENS = ("Instances", "Launch", "S3", "VPCs", "Key pairs", "Security groups", "Jobs")
ROW = ".ag-center-cols-container .ag-row"
SEEN = """([selector, text]) => new Promise((done) => {
    const look = () => [...document.querySelectorAll(selector)].some((each) => each.textContent.includes(text));
    const tell = () => look() && (watcher.disconnect(), done(Date.now() / 1000));
    const watcher = new MutationObserver(tell);
    watcher.observe(document.body, { childList: true, subtree: true, characterData: true });
    tell();
})"""
"""When the page has the text, by the browser's clock, which is the machine's."""
ECHO = """(mark) => new Promise((done) => {
    const screen = document.querySelector(".xterm-rows");
    const before = screen.textContent.split(mark).length;
    let pressed;
    const watcher = new MutationObserver(() => {
        if (pressed && screen.textContent.split(mark).length > before) {
            watcher.disconnect();
            done(performance.now() - pressed);
        }
    });
    watcher.observe(screen, { childList: true, subtree: true, characterData: true });
    addEventListener("keydown", () => (pressed = performance.now()), { capture: true, once: true });
})"""
MIB = 1 << 20


class Console:
    """A console in a process of its own. `link` lets the browser in."""

    def __init__(self, command: list[str], variables: dict[str, str]) -> None:
        self._began = time.time()
        self._process = subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert self._process.stdout is not None
        self.link = self._process.stdout.readline().decode().strip()

    @property
    def age(self) -> float:
        return time.time() - self._began

    def processor(self) -> float:
        """Seconds that it has computed."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> float:
        """MiB that are its own."""
        found = re.search(r"^Pss:\s+(\d+)", Path(f"/proc/{self._process.pid}/smaps_rollup").read_text(), re.MULTILINE)
        assert found is not None
        return int(found[1]) / 1024

    def end(self) -> None:
        self._process.terminate()
        self._process.wait()


@contextmanager
def console(command: list[str], variables: dict[str, str]) -> Iterator[Console]:
    made = Console(command, variables)
    try:
        yield made
    finally:
        made.end()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=30, help="of each look at the processor")
    parser.add_argument("--instances", type=int, default=200)
    add_images_option(parser)
    chosen = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors, {chosen.rounds} rounds")
    sizes()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=QUIET)
        with cloud_up(chosen.images_of) as home, tempfile.TemporaryDirectory(prefix="skylift-bench-") as folder:
            one_server(home, Path(folder), browser, chosen.rounds, chosen.seconds)
        with tempfile.TemporaryDirectory(prefix="skylift-bench-") as folder:
            many(Path(folder), browser, chosen.instances, chosen.seconds)
        browser.close()


def one_server(home: Home, folder: Path, browser: Browser, rounds: int, seconds: int) -> None:
    server, ssh = server_with_key(home, folder)
    command, variables = [*SKYLIFT, "console", "--no-browser"], environment(home)
    starts(command, variables, browser, rounds)
    with console(command, variables) as shown:
        page = browser.new_context().new_page()
        first_page(page, shown.link)
        memory = [("with its first page", shown.memory())]
        pages(page, rounds)
        memory.append(("with all screens seen", shown.memory()))
        changes(page, client(home, "ec2"), server, rounds)
        keystrokes(page, shown, server, ssh, rounds)
        page.get_by_role("link", name="Instances").click()
        page.wait_for_selector(ROW)
        idle(shown, seconds, "one idle tab")
        tabs = [page.context.new_page() for _ in range(9)]
        for each in tabs:
            each.goto(page.url)
            each.wait_for_selector(ROW)
        memory.append(("with ten tabs", shown.memory()))
        idle(shown, seconds, "ten idle tabs")
        page.context.close()
        print("memory: " + ", ".join(f"{size:.0f} MiB {when}" for when, size in memory))


def starts(command: list[str], variables: dict[str, str], browser: Browser, rounds: int) -> None:
    found: dict[str, list[float]] = {"first rows": [], "processor": [], "floor": []}
    for _ in range(rounds):
        began = time.monotonic()
        subprocess.run([sys.executable, "-c", "import nicegui.ui"], check=True, env=variables)
        page = browser.new_context().new_page()
        page.goto("data:text/html,<p>empty")
        found["floor"].append(time.monotonic() - began)
        page.context.close()
        with console(command, variables) as shown:
            page = browser.new_context().new_page()
            page.goto(shown.link)
            page.wait_for_selector(ROW)
            found["first rows"].append(shown.age)
            found["processor"].append(shown.processor())
            page.context.close()
    middle = {name: statistics.median(each) for name, each in found.items()}
    print(
        f"first rows from the command: {middle['first rows']:.2f} s, {middle['processor']:.2f} s of processor; "
        f"NiceGUI imported and an empty page: {middle['floor']:.2f} s ({ratio(found['first rows'], found['floor'])})"
    )


def first_page(page: Page, link: str) -> None:
    devtools = page.context.new_cdp_session(page)
    devtools.send("Network.enable")
    sent: list[float] = []
    devtools.on("Network.loadingFinished", lambda event: sent.append(event["encodedDataLength"]))
    page.goto(link)
    page.wait_for_selector(ROW)
    print(f"first page: {sum(sent) / MIB:.2f} MiB in {len(sent)} answers, as they travel")


def pages(page: Page, rounds: int) -> None:
    """From the click to the heading of the next screen, with its rows where it has some."""
    found: dict[str, list[float]] = {}
    for _ in range(rounds):
        for screen in SCREENS:
            began = time.monotonic()
            page.get_by_role("navigation").get_by_role("link", name=screen, exact=True).click()
            page.wait_for_selector("h1")
            page.wait_for_selector(f"{ROW}, .empty:visible, .launch")
            found.setdefault(screen, []).append(time.monotonic() - began)
    slowest, times = max(found.items(), key=lambda each: statistics.median(each[1]))
    every = statistics.median([seconds for each in found.values() for seconds in each])
    print(f"page to page: {every * 1000:.0f} ms; the slowest, {slowest}, {statistics.median(times) * 1000:.0f} ms")


def changes(page: Page, ec2: Any, server: str, rounds: int) -> None:
    page.get_by_role("navigation").get_by_role("link", name="Instances", exact=True).click()
    page.wait_for_selector(ROW)
    late = []
    for number in range(rounds * 4):
        waiting = f"change-{number}"
        page.evaluate(f"void (window.seen = ({SEEN})({[f'{ROW} [col-id=name]', waiting]!r}))")
        time.sleep(number % 7 / 7)  # at any moment between two looks
        ec2.create_tags(Resources=[server], Tags=[{"Key": "Name", "Value": waiting}])
        answered = time.time()
        late.append(page.evaluate("window.seen") - answered)
    print(f"a change in EC2 to its cell: {statistics.median(late):.2f} s, at most {max(late):.2f} s of {len(late)}")


def keystrokes(page: Page, shown: Console, server: str, ssh: list[str], rounds: int) -> None:
    """A letter at the prompt. Both begin when a key is down, and end when its letter is there."""
    page.goto(f"{page.url.partition('/instances')[0].rstrip('/')}/connect/{server}")
    page.wait_for_function("document.querySelector('.xterm-rows')?.textContent.includes('$')")
    with plain_ssh(ssh) as type_one:
        found: dict[str, list[float]] = {"page": [], "ssh": []}
        before = shown.processor()
        for number in range(rounds * 10):
            letter = "abcdefghij"[number % 10]
            page.evaluate(f"void (window.echo = ({ECHO})({letter!r}))")
            page.keyboard.press(letter)
            found["page"].append(page.evaluate("window.echo"))
            found["ssh"].append(type_one(letter) * 1000)
        spent = (shown.processor() - before) / len(found["page"])
    middle = {name: statistics.median(each) for name, each in found.items()}
    print(
        f"keystroke to echo: {middle['page']:.1f} ms in the page, {middle['ssh']:.1f} ms by ssh "
        f"({middle['page'] - middle['ssh']:.1f} ms more; {spent * 1000:.1f} ms of the console's processor)"
    )


@contextmanager
def plain_ssh(command: list[str]) -> Iterator[Callable[[str], float]]:
    """What types a letter and gives the seconds to its echo."""
    terminal, other = pty.openpty()
    with subprocess.Popen([command[0], "-tt", *command[1:]], stdin=other, stdout=other, stderr=other) as process:
        os.close(other)

        def read_until(text: bytes) -> None:
            found = b""
            while text not in found:
                if not select.select([terminal], [], [], 30)[0]:
                    raise SystemExit(f"ssh has not answered with {text!r}, but with {found!r}")
                found += os.read(terminal, 4096)

        def type_one(letter: str) -> float:
            began = time.monotonic()
            os.write(terminal, letter.encode())
            read_until(letter.encode())
            return time.monotonic() - began

        try:
            read_until(b"$ ")
            yield type_one
        finally:
            process.terminate()
            os.close(terminal)


def idle(shown: Console, seconds: int, what: str) -> None:
    before, began = shown.processor(), time.monotonic()
    time.sleep(seconds)
    print(f"{what}: {(shown.processor() - before) / (time.monotonic() - began):.2%} of a core")


def many(folder: Path, browser: Browser, instances: int, seconds: int) -> None:
    with beside_moto.skylift(folder) as server:
        ec2, ids = server.ec2, list[str]()
        image = ec2.describe_images()["Images"][0]["ImageId"]
        while len(ids) < instances:
            number = min(100, instances - len(ids))
            made = ec2.run_instances(ImageId=image, InstanceType="t3.micro", MinCount=number, MaxCount=number)
            ids += [each["InstanceId"] for each in made["Instances"]]
        with console([sys.executable, __file__, "serve", *server.address, str(folder)], dict(os.environ)) as shown:
            page = browser.new_context().new_page()
            page.goto(shown.link)
            page.wait_for_selector(ROW)
            idle(shown, seconds, f"a tab with {instances} instances that do not change")
            before, began, rounds = shown.processor(), time.monotonic(), 0
            while time.monotonic() - began < seconds:
                rounds += 1
                ec2.create_tags(Resources=ids, Tags=[{"Key": "Name", "Value": f"round-{rounds}"}])
                time.sleep(max(0.0, began + rounds - time.monotonic()))
            spent = (shown.processor() - before) / (time.monotonic() - began)
            nodes = page.evaluate("document.querySelectorAll('*').length")
            print(f"{instances} instances that change each second: {spent:.2%} of a core; {nodes} elements in the page")
            page.context.close()


def serve(url: str, key: str, secret: str, directory: str) -> None:
    """A console of this endpoint, as it is for a cloud on this machine."""
    from skylift.client.job.settings import Credentials, NewestImage, Secret, Settings
    from skylift.console.address import LOCAL, listen
    from skylift.console.entry import SignIn
    from skylift.console.main import serve as serve_console

    settings = Settings(
        region=beside_moto.REGION,
        key_dir=Path(directory),
        image=NewestImage("bench", ("self",)),
        caller_address=lambda: "127.0.0.1",
        endpoint_url=url,
        credentials=Credentials(key, Secret(secret)),
        account=beside_moto.ACCOUNT,
        billed=False,
    )
    place, listener = listen(Path(directory), LOCAL)
    print(f"{place.origin}/enter?token={SignIn(place.key).make_token()}", flush=True)
    serve_console(place, listener, lambda: settings, None)


def sizes() -> None:
    """What the extra adds to a plain install: the files of each distribution that only it needs."""
    plain, whole = needed("skylift", ""), needed("skylift", "console")
    by_size = sorted(((size(name), name) for name in whole - plain), reverse=True)
    shown = ", ".join(f"{name} {bytes_ / MIB:.1f}" for bytes_, name in by_size[:4])
    print(f"the extra adds {sum(bytes_ for bytes_, _ in by_size) / MIB:.1f} MiB in {len(by_size)} packages: {shown}")


def needed(name: str, extra: str) -> set[str]:
    from packaging.requirements import Requirement

    found: set[tuple[str, str]] = set()
    todo = [(name, extra)]
    while todo:
        at = todo.pop()
        if at in found:
            continue
        found.add(at)
        for line in importlib.metadata.requires(at[0]) or ():
            wanted = Requirement(line)
            if wanted.marker is None or wanted.marker.evaluate({"extra": at[1]}):
                todo += [(wanted.name.lower(), each) for each in (wanted.extras or {""})]
    return {each for each, _ in found}


def size(name: str) -> int:
    files = [Path(str(each.locate())) for each in importlib.metadata.files(name) or ()]
    return sum(each.stat().st_size for each in files if each.exists() and each.suffix != ".pyc")


def ratio(ours: list[float], floors: list[float]) -> str:
    return f"{statistics.median(a / b for a, b in zip(ours, floors, strict=True)):.2f} times as long"


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(*sys.argv[2:])
    else:
        main()
