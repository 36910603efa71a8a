"""Ids of rows: time-ordered for new things, derived for imported ones."""

from uuid import UUID, uuid5

from uuid_utils.compat import uuid7

IMPORTED = UUID("6f1f0a4e-5d0c-5b7e-9a3c-2f6d2f0f7f3b")
"""Namespace of ids that are derived from another system's keys."""


def new_id() -> UUID:
    """Return a UUIDv7: ids made later sort after ids made earlier, to the millisecond."""
    return uuid7()


def derived_id(*parts: object) -> UUID:
    """Return the same UUIDv5 for the same parts, on every host and in every run.

    A part may hold any text: the parts are length-prefixed, so ``("ab", "c")`` and ``("a", "bc")`` differ, and a lone surrogate does
    not fail.
    """
    texts = [str(part) for part in parts]
    name = "".join(f"{len(text)}:{text}" for text in texts)
    return uuid5(IMPORTED, name.encode("utf-8", "backslashreplace").decode())
