"""Counts the primes below a number, on a server that may be taken away at any time.

    skylift run --spot --checkpoint state.json --out primes.json examples/spot/primes.py 2000000000

What has been counted so far stands in state.json, which is written after each block: first beside it, then renamed, so
that it is whole at every moment. At SIGTERM, which is the notice that the server goes, the block under way is finished
and the program ends with a code that is not 0; the next server finds state.json and goes on with the next block.
"""

import json
import os
import signal
import sys
from math import isqrt
from pathlib import Path

BLOCK = 2_000_000
STATE = Path("state.json")
NOT_DONE = 75


def primes_up_to(most: int) -> list[int]:
    sieve = bytearray([1]) * (most + 1)
    sieve[:2] = b"\0\0"
    for number in range(2, isqrt(most) + 1):
        if sieve[number]:
            sieve[number * number :: number] = bytes(len(range(number * number, most + 1, number)))
    return [number for number in range(most + 1) if sieve[number]]


def count_between(start: int, end: int, small: list[int]) -> int:
    """Primes from `start` up to `end`, which is not among them; `small` are those up to the square root of `end`."""
    block = bytearray([1]) * (end - start)
    for number in range(start, min(end, 2)):
        block[number - start] = 0
    for prime in small:
        first = max(prime * prime, -(-start // prime) * prime)
        if first < end:
            block[first - start :: prime] = bytes(len(range(first, end, prime)))
    return sum(block)


def load() -> dict[str, int]:
    if STATE.exists():
        found: dict[str, int] = json.loads(STATE.read_text())
        return found
    return {"next": 0, "primes": 0}


def save(state: dict[str, int]) -> None:
    part = STATE.with_suffix(".part")
    with part.open("w") as file:
        json.dump(state, file)
        file.flush()
        os.fsync(file.fileno())
    part.replace(STATE)


def main(top: int, size: int = BLOCK) -> int:
    told: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: told.append(number))
    state = load()
    print(f"attempt {os.environ.get('SKYLIFT_ATTEMPT', '1')} begins at {state['next']}", flush=True)
    small = primes_up_to(isqrt(top) + 1)
    while state["next"] < top:
        end = min(state["next"] + size, top)
        state = {"next": end, "primes": state["primes"] + count_between(state["next"], end, small)}
        save(state)
        print(f"{state['primes']} primes below {end}", flush=True)
        if told and end < top:
            return NOT_DONE
    Path("primes.json").write_text(json.dumps({"below": top, "primes": state["primes"]}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
