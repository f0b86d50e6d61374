"""What `skylift run` and `skylift attach` share: the option --forward, Ctrl-C, and the job's end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Protocol, TypeVar

import typer

from skylift.cli.say import say_folded, say_json, say_trouble

if TYPE_CHECKING:
    from collections.abc import Sequence

    from skylift.cli.screen import Outlet
    from skylift.client.job.outcome import Outcome

ForwardOption = Annotated[
    list[str] | None,
    typer.Option(
        "--forward", metavar="PORT", help="8888, or 8888:80: a port here that leads to one there. Repeatable."
    ),
]

T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")


class Interruptible(Protocol[T_co]):
    async def run(self) -> T_co: ...

    def interrupt(self) -> None: ...


def with_interrupts(work: Interruptible[T]) -> T:
    """Run the work in an event loop of its own. Ctrl-C calls its `interrupt`."""
    import asyncio
    import signal

    async def main() -> T:
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, work.interrupt)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, own)
        return await work.run()

    # Ctrl-C is blocked while the loop is made: an incomplete loop could not be closed.
    own = {signal.SIGINT} - signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return asyncio.run(main())
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, own)


def show_outcome(
    outcome: Outcome, outlet: Outlet, *, quiet: bool, as_json: bool, arguments: Sequence[str] = ()
) -> None:
    """`arguments` are the program's own."""
    from skylift.cli.run_summary import summary, troubles

    if as_json:
        tails = {f"{name}_tail": tail.text() for name, tail in outlet.tails.items()}
        say_json({**outcome.as_json(), **tails})
    if quiet:
        if found := troubles(outcome):
            say_trouble("\n".join(found))
    else:
        say_folded(summary(outcome, arguments=arguments))
