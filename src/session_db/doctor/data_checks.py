"""The checks of ``doctor`` that ask what is in the tables."""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

from session_db.capture.reaping import reap
from session_db.crud.counters import MINUTES, Comparison, WrongCounter, compare_counters, correct_counters, list_session_ids
from session_db.crud.erasing import erase_deleted_sessions
from session_db.crud.leftovers import list_empty, list_unerased
from session_db.crud.listing import list_sessions
from session_db.crud.reaping import list_executing, list_unended
from session_db.crud.tokens import ENDED, count_ended_tokens, delete_ended_tokens, list_ending_tokens, list_unused_tokens, token_id_of
from session_db.crud.transcripts import get_missing, list_pending_hosts
from session_db.database import UnitOfWork, get_async_session, in_transaction
from session_db.database.batches import in_batches
from session_db.doctor.checks import FIX, Check, Inspection, some_of
from session_db.models import Session, Token
from session_db.models.table import now
from session_db.settings import get_settings, span_of, stored_token

SAMPLED = 100
"""Sessions whose counters are compared unless all are asked for, those that were active last."""

PAGE = 50
"""Sessions that are compared in one transaction."""

ERASED_AFTER = timedelta(hours=1)
EMPTY_AFTER = timedelta(days=1)
ENDS_SOON = timedelta(days=14)
UNUSED_AFTER = timedelta(days=30)
KEPT_AFTER_END = timedelta(days=90)
"""How long a token is kept that works no more."""

_MANY = 1000
"""Rows that are counted; of more it is said that there are more."""


class Counters:
    """The comparison of counters with their rows, of the last active sessions or of all, and of those it found once more after a fix."""

    def __init__(self, *, everything: bool, tell: Callable[[str], None]) -> None:
        self._everything = everything
        self._tell = tell
        self._compared = 0
        self._found: Comparison | None = None

    @property
    def inspections(self) -> list[Inspection]:
        return [Inspection("counters", self.look, self.fix), Inspection("gaps", self.look_at_gaps)]

    async def look(self) -> Check:
        """Say which counters are not what the rows say."""
        wrong = (await self._compare()).wrong
        if not wrong:
            return Check("counters", "ok", f"all are what the rows say; {self._said}")
        sessions = len({each.session_id for each in wrong})
        found = f"not what the rows say: {some_of([_told(each) for each in wrong])}"
        return Check("counters", "failed", f"{found}; sessions with such: {sessions:,}; {self._said}", FIX)

    @property
    def _said(self) -> str:
        return f"sessions compared: {self._compared:,}" + ("" if self._everything else " (the last active; --all compares every one)")

    async def look_at_gaps(self) -> Check:
        """Say which sessions lack rows between others: nothing of ours leaves a gap, and no fix brings back what was there."""
        gaps = (await self._compare()).gaps
        if not gaps:
            return Check("gaps", "ok", "no event and no message is missing between others")
        lost = [f"{gap.missing:,} {'events' if gap.counter == 'event_count' else 'messages'} of session {gap.session_id}" for gap in gaps]
        return Check("gaps", "warning", f"missing between others: {some_of(lost)}", "They are in a backup from before, if anywhere.")

    async def fix(self) -> str | None:
        """Set the counters of each session right under its lock, in short transactions."""
        minutes_of: dict[UUID, list[datetime]] = {}
        for each in (await self._compare()).wrong:
            minutes_of.setdefault(each.session_id, []).extend([] if each.minute is None else [each.minute])
        corrected = 0
        for session_id in sorted(minutes_of):
            minutes = sorted(minutes_of[session_id])
            for start in range(0, max(len(minutes), 1), MINUTES):
                corrected += await in_transaction(
                    partial(correct_counters, session_id=session_id, minutes=minutes[start : start + MINUTES])
                )
        again = await self._compare_these(sorted(minutes_of))
        self._found = (await self._compare())._replace(wrong=again.wrong)
        return f"{corrected:,} counters were set to what the rows say"

    async def _compare(self) -> Comparison:
        if self._found is None:
            self._found = await (self._compare_all() if self._everything else self._compare_last())
        return self._found

    async def _compare_last(self) -> Comparison:
        async with get_async_session() as db:
            sessions = [session.id for session in await list_sessions(db, limit=SAMPLED)]
        return await self._compare_these(sessions)

    async def _compare_these(self, session_ids: list[UUID]) -> Comparison:
        found = Comparison([], [])
        for start in range(0, len(session_ids), PAGE):
            async with get_async_session() as db:
                self._add(found, await compare_counters(db, session_ids[start : start + PAGE], whole=self._everything))
        self._compared = max(self._compared, len(session_ids))
        return found

    async def _compare_all(self) -> Comparison:
        """Compare all sessions in the order of their ids, with rests between the pages."""
        found, last = Comparison([], []), None

        async def compare(db: UnitOfWork) -> int:
            nonlocal last
            session_ids = await list_session_ids(db, after=last, limit=PAGE)
            self._add(found, await compare_counters(db, session_ids, whole=True))
            last = session_ids[-1] if session_ids else None
            self._compared += len(session_ids)
            self._tell(f"Checking counters: {self._compared:,} sessions …")
            return len(session_ids)

        await in_batches(compare)
        return found

    @staticmethod
    def _add(found: Comparison, more: Comparison) -> None:
        found.wrong.extend(more.wrong)
        found.gaps.extend(more.gaps)


def _told(wrong: WrongCounter) -> str:
    whose = f"agent {wrong.agent_id} in " if wrong.agent_id else ""
    when = f" of minute {wrong.minute:%Y-%m-%d %H:%M}" if wrong.minute else ""
    return f"{wrong.name}{when} of {whose}session {wrong.session_id} is {wrong.stored}, and the rows say {wrong.actual}"


async def look_at_transcripts() -> Check:
    async with get_async_session() as db:
        pending, entries = await get_missing(db)
        hosts = await list_pending_hosts(db) if pending else []
    found = f"{pending} were not read yet, {entries} entries are missing"
    if pending:
        named = ", ".join(f"{host} ({count})" for host, count in hosts)
        return Check("transcripts", "warning", found, f"Run session-db drain, or session-db import, where they are: {named}.")
    if entries:
        return Check("transcripts", "warning", found, "Run session-db import where the client's own files are.")
    return Check("transcripts", "ok", found)


async def fix_transcripts() -> str | None:
    """Read the transcripts of this machine that were not read yet."""
    # What it needs takes time to import, and mostly nothing is pending.
    from session_db.capture.reading import ReadReport, read_pending  # noqa: PLC0415

    report = ReadReport()
    await read_pending(get_settings(), report)
    return f"{len(report.transcripts)} transcripts of this machine were read" if report.transcripts else None


async def look_at_deleted() -> Check:
    """Say whether the rows of deleted sessions are gone."""
    async with get_async_session() as db:
        unerased = await list_unerased(db, before=now() - ERASED_AFTER, limit=_MANY)
    if not unerased:
        return Check("deleted sessions", "ok", "none waits to be erased")
    return Check("deleted sessions", "warning", f"deleted more than an hour ago, and not erased: {_number(unerased)}", FIX)


async def fix_deleted() -> str:
    rows = await in_batches(erase_deleted_sessions)
    return f"{rows:,} rows were erased"


async def look_at_empty() -> Check:
    """Say how many sessions have neither events nor messages."""
    async with get_async_session() as db:
        empty = await list_empty(db, before=now() - EMPTY_AFTER, limit=_MANY)
    if not empty:
        return Check("empty sessions", "ok", "each of the last active has events or messages")
    found = f"without events and messages for a day: {_number(empty)}: {some_of([str(each) for each in empty])}"
    return Check("empty sessions", "warning", found, "Where nobody needs one: session-db sessions delete ID.")


async def look_at_agents() -> Check:
    """Say whether agents are said to work of which nothing is heard."""
    lost = span_of(get_settings().lost_after)
    if lost is None:
        return Check("agents", "ok", "however long nothing is heard of one, it works (SESSION_DB_LOST_AFTER is never)")
    silent = await _silent(now() - lost)
    async with get_async_session() as db:
        # A few are named; how many they are in all the sessions, nobody needs to know.
        agents = await list_executing(db, [session.id for session in silent[:10]])
    if not silent:
        return Check("agents", "ok", "each that is said to work was heard of")
    named = some_of([f"{agent.agent_type} {agent.id} of session {agent.session_id}" for agent in agents]) or "no agent is left in them"
    found = f"said to work, and not heard of for {get_settings().lost_after}, in {_number(silent)}: {named}"
    return Check("agents", "warning", found, FIX)


async def _silent(before: datetime) -> list[Session]:
    """Return the sessions in which an agent is said to work, page by page: a page may be empty and have a next one."""
    silent: list[Session] = []
    cursor = None
    while len(silent) < _MANY:
        async with get_async_session() as db:
            page = await list_unended(db, before=before, limit=_MANY - len(silent), cursor=cursor)
        silent += page
        cursor = page.next_cursor
        if cursor is None:
            break
    return silent


async def fix_agents() -> str | None:
    """End what nobody ends any more, as the service does."""
    reaped = await reap(get_settings())
    return f"{reaped.failed} agents have failed; {reaped.idle} chats are idle now, and {reaped.terminated} terminated"


async def look_at_tokens() -> Check:
    """Say which tokens end soon, and which nobody ever used."""
    async with get_async_session() as db:
        ending = await list_ending_tokens(db, before=now() + ENDS_SOON)
        unused = await list_unused_tokens(db, made_before=now() - UNUSED_AFTER)
    # That of this machine's service waits for the first command that needs it.
    own = stored_token(get_settings())
    unused = [token for token in unused if token.id != (own and token_id_of(own))]
    found, remedies = [], []
    if ending:
        found.append(f"{some_of([f'{_named(each)} ends on {each.expires_at:%Y-%m-%d}' for each in ending])}")
        remedies.append("Make others with session-db tokens create.")
    if unused:
        found.append(f"{some_of([f'{_named(each)} was never used' for each in unused])}")
        remedies.append("End what nobody needs with session-db tokens revoke ID.")
    if found:
        return Check("tokens", "warning", "; ".join(found), " ".join(remedies))
    return Check("tokens", "ok", f"none ends within {ENDS_SOON.days} days, and none lies unused")


def _named(token: Token) -> str:
    return f"{token.name} ({token.id})"


async def look_at_ended_tokens() -> Check:
    async with get_async_session() as db:
        ended = await count_ended_tokens(db, before=now() - KEPT_AFTER_END)
    if not ended:
        return Check("ended tokens", "ok", f"none has been of no use for {KEPT_AFTER_END.days} days")
    number = f"{ended:,} or more" if ended == ENDED else f"{ended:,}"
    return Check("ended tokens", "warning", f"of no use for {KEPT_AFTER_END.days} days: {number}", FIX)


async def fix_ended_tokens() -> str:
    before = now() - KEPT_AFTER_END
    deleted = await in_batches(lambda db: delete_ended_tokens(db, before=before))
    return f"{deleted:,} tokens that work no more were deleted"


def _number(rows: list[Any]) -> str:
    more = " or more" if len(rows) == _MANY else ""
    return f"{len(rows):,}{more} {'session' if len(rows) == 1 else 'sessions'}"
