"""Operations as Hypothesis draws them: few sessions, agents and keys, so that they meet."""

from decimal import Decimal
from uuid import UUID

from hypothesis import strategies as st

from tests.crud.operations import (
    AGENTS,
    CHATS,
    WORKFLOWS,
    AddAgent,
    Append,
    Change,
    ChangeAgent,
    Create,
    Delete,
    DeleteClip,
    Erase,
    Import,
    Remember,
    Say,
    Spend,
    Touch,
    WriteClip,
    WriteSong,
    known_agent,
)

_CHATS = st.sampled_from(CHATS)
_SESSIONS = st.sampled_from([*WORKFLOWS, *WORKFLOWS, *CHATS])
# One stays, or soon there is nothing left to write to.
_DELETED = st.sampled_from([*WORKFLOWS[1:], *CHATS])
_AGENTS = st.sampled_from(AGENTS)
_NUMBERS = st.integers(0, 20)
_DOLLARS = st.sampled_from([0.0, 0.1, 1e-10, 3.3333333333, 123456.7890123456])
_PRICES = st.sampled_from([None, Decimal("0.1"), Decimal("1e-10"), Decimal("12345.6789012345")])
_SLUGS = st.sampled_from(["one", "two"])
_CLIPS = st.sampled_from(["kick", "snare"])
_SOME = st.lists(_NUMBERS, min_size=1, max_size=6).map(tuple)
_TOTALS = st.dictionaries(st.sampled_from(["cost", "input_tokens", "cache_write_tokens"]), _DOLLARS).map(lambda items: tuple(items.items()))


_PLACES = st.builds(lambda session, number: (session, known_agent(session, number)), _SESSIONS, st.integers(0, 1))


@st.composite
def _events(draw: st.DrawFn) -> tuple[tuple[UUID, int, UUID | None], ...]:
    """Events of one session or two, in any order."""
    sessions = st.sampled_from(draw(st.lists(_SESSIONS, min_size=1, max_size=2)))
    drawn = draw(st.lists(st.tuples(sessions, _NUMBERS, st.booleans()), min_size=1, max_size=8))
    return tuple((session, number, known_agent(session) if has_agent else None) for session, number, has_agent in drawn)


CREATIONS = st.builds(Create, _SESSIONS, _SLUGS)
CHANGES = st.builds(Change, _SESSIONS, st.integers(0, 6), st.none() | _SLUGS) | st.builds(Touch, _SESSIONS)
NEW_AGENTS = st.builds(
    AddAgent,
    _SESSIONS,
    _AGENTS,
    parent=st.none() | st.sampled_from(AGENTS[:2]),
    sdk_agent_id=st.sampled_from([None, "a1", "a2"]),
    cost=_DOLLARS,
)
CHANGED_AGENTS = st.builds(lambda place, changes: ChangeAgent(place[0], place[1], changes=changes), _PLACES, _TOTALS)
ADOPTIONS = st.one_of(
    st.builds(AddAgent, _SESSIONS, _AGENTS, _CHATS, cost=_DOLLARS),
    st.builds(lambda place, sdk: ChangeAgent(place[0], place[1], sdk), _PLACES, _CHATS),
)
EVENTS = st.builds(Append, _events())
MESSAGES = st.builds(Say, _SESSIONS, _SOME)
USAGE = st.builds(lambda place, *spent: Spend(*place, *spent), _PLACES, _SOME, st.integers(0, 1000), _PRICES)
MEMORY_FILES = st.builds(Remember, _SESSIONS, st.integers(0, 3), st.booleans())
DELETIONS = st.builds(Delete, _DELETED)
ERASURES = st.builds(Erase, st.sampled_from([1, 3, 1000]))
IMPORTS = st.builds(Import, _CHATS, st.integers(2, 80), st.booleans(), st.booleans(), st.booleans())
ITEMS = st.one_of(
    st.builds(WriteClip, _CLIPS, st.sampled_from("abc"), st.none() | st.integers(1, 4)),
    st.builds(DeleteClip, _CLIPS),
    st.builds(WriteSong, st.lists(_CLIPS, max_size=3).map(tuple)),
)
ALL = st.one_of(
    CREATIONS | CHANGES | DELETIONS | ERASURES | ITEMS,
    EVENTS | MESSAGES | MEMORY_FILES,
    NEW_AGENTS | CHANGED_AGENTS | USAGE,
    ADOPTIONS,
    IMPORTS,
)
HOW = st.sampled_from(["once", "again", "killed"])
