"""Plain HTML elements. What they show is text, and what their attributes have is a value, never markup or a program."""

from __future__ import annotations

import inspect
import json
from collections.abc import Awaitable, Callable
from typing import Any

from nicegui import helpers, ui
from nicegui.elements.mixins.text_element import TextElement

from skylift.client.errors import SkyliftError

Element = ui.element
Handler = Callable[..., Any]


def tag(name: str, text: str = "", classes: str = "", **attributes: str) -> TextElement:
    """`classes` and the names of attributes are ours. `_` in a name is a hyphen, at its end nothing."""
    made = TextElement(tag=name, text=text)
    made.classes(classes)
    for key, value in attributes.items():
        made.props[key.rstrip("_").replace("_", "-")] = value
    return made


def box(classes: str = "", **attributes: str) -> Element:
    return tag("div", "", classes, **attributes)


def link(text: str, target: str, classes: str = "") -> Element:
    """To another page of the console; `target` begins with a slash."""
    return tag("a", text, classes, href=target)


def button(text: str, on_click: Handler, classes: str = "", **attributes: str) -> TextElement:
    """A press does nothing while what another has begun goes on: a browser learns too late that it is disabled. Why it
    has failed is told."""
    made = tag("button", text, f"button {classes}", type="button", **attributes)
    made.on("click", _one_at_a_time(made, on_click))
    return made


def _one_at_a_time(made: Element, work: Handler) -> Handler:
    goes_on = False

    async def finish(waiting: Awaitable[Any]) -> None:
        nonlocal goes_on
        try:
            await waiting
        except SkyliftError as error:
            # The button may be gone by now; the tab is still there.
            with made.client:
                tell_trouble(error)
        finally:
            goes_on = False

    def press(event: Any) -> Any:
        nonlocal goes_on
        if goes_on:
            return None
        answer = work(event) if helpers.expects_arguments(work) else work()
        if not helpers.should_await(answer):
            return None
        goes_on = True
        return finish(answer)

    return press


async def finish(done: Handler) -> None:
    """Call it, and wait for its answer where that may be awaited."""
    waiting = done()
    if inspect.isawaitable(waiting):
        await waiting


def set_attribute(element: Element, name: str, value: str | bool) -> None:
    """With False, the attribute goes. What is so already is not sent."""
    if element.props.get(name, False) == value:
        return
    if value is False:
        del element.props[name]
    else:
        element.props[name] = value
    element.update()


def enable(element: Element, enabled: bool) -> None:
    set_attribute(element, "disabled", not enabled)


def on_news(element: Element, name: str, handler: Callable[[], Any]) -> None:
    """When the page's own script says this of the element."""
    element.on(name, lambda _: handler(), args=[])


def value_of(event: Any) -> str:
    """What an `input` event says the field has."""
    found = event.args
    return str(found.get("value", "") if isinstance(found, dict) else found)


def on_input(element: Element, handler: Callable[[str], Any]) -> None:
    """What a field has, whenever that changes. Until the page is connected, the browser keeps each event back by
    itself, and they come in any order: one that is older than the last is left out."""
    last = 0.0

    def take(event: Any) -> Any:
        nonlocal last
        at = event.args.get("at") if isinstance(event.args, dict) else None
        if isinstance(at, int | float):
            if at < last:
                return None
            last = at
        return handler(value_of(event))

    element.on("input", take, js_handler="(e) => emit({value: e.target.value, at: e.timeStamp})")


def copyable(text: str, label: str = "Copy") -> None:
    """A command with a button beside it. The page's script copies what the attribute has."""
    with box("command"):
        tag("code", text)
        tag("button", label, "button quiet copy", type="button", data_copy=text, aria_label=f"Copy: {text}")


def command_line(text: str) -> None:
    """At the foot of a page: the command that shows the same."""
    with box("commandline"):
        copyable(text)


def facts(pairs: tuple[tuple[str, str], ...], links: dict[str, str] | None = None) -> None:
    """A list of labels and values. A value that is nothing is shown as a dash."""
    with tag("dl", "", "facts"):
        for label, value in pairs:
            tag("dt", label)
            if value and links and label in links:
                with tag("dd"):
                    link(value, links[label])
            else:
                tag("dd", value or "–")


def focus(element: Element) -> None:
    """The keyboard is there from now on, also where the browser does not have the element yet. What was clicked for it
    may be gone: it is the element that knows its tab."""
    element.client.run_javascript(f"skyliftFocus({json.dumps(element.html_id)})")


def go_to(path: str) -> None:
    ui.navigate.to(path)


def forget_query(path: str, name: str) -> None:
    """The address of the page at this path has no such part from now on."""
    run_script("skyliftForgetQuery", path, name)


def run_script(function: str, *arguments: str) -> None:
    """Call a function of the page's script. Arguments are given as JSON: they are values there."""
    ui.run_javascript(f"{function}({', '.join(json.dumps(each) for each in arguments)})")


def tell_trouble(error: SkyliftError) -> None:
    """At the bottom of the page, until somebody closes it: where there is no place for it on the page itself."""
    run_script("skyliftTellTrouble", error.message, error.advice)


def save(name: str, data: bytes) -> None:
    """Give the browser a file. It is kept by the browser, wherever that keeps what it downloads."""
    ui.download.content(data, name)
