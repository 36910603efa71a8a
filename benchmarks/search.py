"""Times searches in a large database against one of 10,000 events, and prints a table of medians, longest calls and ratios.

``python -m benchmarks.search`` makes both as ``benchmarks.queries`` does. Of the words of generated texts, ``w1`` is in every twentieth,
``w1000`` in one of 20,000, ``w900000`` in hardly any; no text has two of them, so that looking for two finds nothing however far it looks.
``s1`` is the word of one session, of the first day.
"""

import statistics
import time
from typing import Any

from benchmarks.generator import say
from benchmarks.queries import Query, Timed, compare
from session_db.crud.search import search_records

CALLS = 30
"""Calls of each search."""

ROW_SECONDS = 60
"""How long a search is called again, where its calls are slow."""


def _for(words: str, **filters: Any) -> Query:
    return lambda db, _: search_records(db, words, **filters)


SEARCHES: dict[str, Query] = {
    "a frequent word": _for('"w1"'),
    "a word of some": _for('"w1000"'),
    "a rare word": _for('"w900000"'),
    "a word that nobody said": _for("nobody"),
    "the word of one old session": _for('"s1"'),
    "the beginning of words": _for("w12"),
    "one word or another": _for('"w1000" or "w900000"'),
    "a frequent word without another": _for('"w1" -"w2"'),
    "two frequent words that no text has both": _for('"w1" "w2"'),
    "a frequent word, messages": _for('"w1"', hit_type="message"),
    "a frequent word, sessions (titles)": _for("session", hit_type="session"),
    "a frequent word, a tool": _for('"w1"', tool_name="Grep"),
    "a frequent word, a tool that is not there": _for('"w1"', tool_name="Nothing"),
    "a frequent word, with output of tools": _for('"w1"', tool_output=True),
    "a frequent word, one session": lambda db, at: search_records(db, '"w1"', session_id=at.id),
    "a frequent word, one project": lambda db, at: search_records(db, '"w1"', working_dir=at.directory),
    "a rare word, one project": lambda db, at: search_records(db, '"w900000"', working_dir=at.directory),
    "a frequent word, before the first day's end": lambda db, at: search_records(db, '"w1"', until=at.began),
}
"""By what the table calls them."""


async def _measured(reference: Timed, large: Timed, calls: int) -> None:
    say(f"| search | {reference.events:,} events | {large.events:,} events | longest | ratio |\n|---|---|---|---|---|")
    for name, search in SEARCHES.items():
        took = [await _seconds(timed, search, calls) for timed in (reference, large)]
        small, large_one = (statistics.median(seconds) * 1000 for seconds in took)
        say(f"| {name} | {small:.1f} ms | {large_one:.1f} ms | {max(took[1]) * 1000:.0f} ms | {large_one / small:.2f} |")


async def _seconds(timed: Timed, search: Query, calls: int) -> list[float]:
    """Return how long calls took; the first one, with cold caches, is none of them."""
    seconds: list[float] = []
    began = time.monotonic()
    for number in range(calls + 1):
        seconds.append(await timed.call(search, timed.subjects[number % len(timed.subjects)]))
        if len(seconds) > 1 and time.monotonic() - began > ROW_SECONDS:
            break
    return seconds[1:]


if __name__ == "__main__":
    compare(__doc__, CALLS, _measured)
