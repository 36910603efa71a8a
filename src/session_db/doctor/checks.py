"""What ``doctor`` is made of: checks that find something, say what to do, and some of which can do it."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Literal

from session_db.database.violations import DRIVER_ERRORS, translate
from session_db.errors import SessionDBError

State = Literal["ok", "warning", "failed"]

FIX = "Run session-db doctor --fix."

NAMED = 5
"""How many of many are named."""


@dataclass(frozen=True)
class Check:
    """One finding of ``doctor``."""

    name: str
    state: State
    found: str
    remedy: str | None = None


@dataclass(frozen=True)
class Fix:
    """What ``doctor --fix`` did, or why it could not."""

    name: str
    done: str | None
    error: str | None = None


@dataclass(frozen=True)
class Inspection:
    """A check that can be made again, and what is safe to do about it; that says what it did, or None where it did nothing."""

    name: str
    look: Callable[[], Awaitable[Check]]
    fix: Callable[[], Awaitable[str | None]] | None = None


@dataclass
class Examination:
    """Makes checks, one after the other, and where it may, sets right what they find.

    What goes wrong with one is its finding, and no reason not to make the others.
    """

    fixes_too: bool
    tell: Callable[[str], None]
    checks: list[Check] = field(default_factory=list)
    fixes: list[Fix] = field(default_factory=list)

    async def make(self, inspection: Inspection) -> Check:
        """Make a check, and where it found something that can be set right, do that and look again."""
        self.tell(f"Checking {inspection.name} …")
        check = await _look(inspection)
        if self.fixes_too and check.state != "ok" and inspection.fix is not None:
            self.tell(f"Fixing {inspection.name} …")
            fix = await _fix(inspection.name, inspection.fix)
            self.fixes += [] if fix is None else [fix]
            check = await _look(inspection)
        self.checks.append(check)
        return check

    async def make_all(self, inspections: Iterable[Inspection]) -> None:
        for inspection in inspections:
            await self.make(inspection)


async def _look(inspection: Inspection) -> Check:
    try:
        return await inspection.look()
    except Exception as error:  # noqa: BLE001  whatever it is, the other checks are made
        return Check(inspection.name, "failed", f"could not be checked: {reason_of(error)}")


async def _fix(name: str, fix: Callable[[], Awaitable[str | None]]) -> Fix | None:
    try:
        done = await fix()
    except Exception as error:  # noqa: BLE001  see above
        return Fix(name, None, reason_of(error))
    return None if done is None else Fix(name, done)


def reason_of(error: Exception) -> str:
    """Say what went wrong in a line."""
    if isinstance(error, DRIVER_ERRORS):
        error = translate(error) or error
    return error.message if isinstance(error, SessionDBError) else f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


def some_of(parts: list[str]) -> str:
    """Name the first of many."""
    more = len(parts) - NAMED
    return "; ".join(parts[:NAMED]) + (f"; and {more:,} more" if more > 0 else "")
