"""A conversation as hooks told it, for a session whose transcript cannot be read here.

It is made of the stored events, a turn at a time, and each event is looked at once: killed at any point, the next one goes on.
"""

import hashlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from session_db.capture.entries import MESSAGE_LIMIT, NOT_TYPED, Facts, title_of
from session_db.capture.hook_events import ENDS_TURN, HookEvent
from session_db.capture.record import MAX_UUID, OpenStream, StreamName, bound_session, note_session, open_stream
from session_db.capture.told import Told, client_id_of, note_told, told_of
from session_db.crud.agent_logs import get_agent_log, list_hook_events
from session_db.crud.messages import get_messages_of, save_display_messages
from session_db.crud.sdk_sessions import sdk_key
from session_db.crud.transcripts import find_transcripts, names_prompt
from session_db.models import AgentLog, Transcript
from session_db.models.text import readable

_TELLING = ("UserPromptSubmit", "MessageDisplay", *sorted(ENDS_TURN))
_PAGE = 500
_LARGE_TURN = 8 * 1024 * 1024
"""Characters of a turn that are kept in memory; what is more is written at once."""
_EVENT_CHARACTERS = 100
"""What an event takes beside its text."""

_REMEMBERED = 20
"""Messages of a turn that are compared with what an end of it says that comes later."""

_LAG = timedelta(seconds=3)
"""How long after the last entry of a transcript hooks may still tell of it."""

_NOTHING_READ = hashlib.sha256().hexdigest()
"""The fingerprint of a file of which nothing was read."""


async def tell(db: AsyncSession, *, event: HookEvent, host: str | None) -> int:
    """Write what hooks told of a conversation and nobody wrote, and return how many messages were made.

    Of a transcript that was read before, on another machine for instance, only turns are told that began after its last entry; of one that
    a store keeps, none.

    Args:
        db: the database session.
        event: the end of a turn whose transcript cannot be read.
        host: the machine that has the transcript; None: there is none.

    Raises:
        NotFound: the session was deleted.
    """
    name = StreamName(event.project_key, event.sdk_session_id, host=readable(event.captured.host)[:255])
    session, _, _ = await bound_session(db, name, event.captured.captured_at)
    known = await _known_streams(db, session.id, name)
    if any(transcript.source == "store" and transcript.next_seq for transcript in known):
        return 0
    if known:
        # The client moves the file of a session that enters a worktree.
        name = replace(name, project_key=known[-1].project_key)
    before = told = (told_of(known[-1]) if known else None) or Told()
    read = known[-1] if known and known[-1].next_seq else None
    said = await _said_last(db, known[-1], told) if known else []
    stream = None
    async for turn in _turns(db, session.id, name.sdk_session_id, told.event_id):
        said = said if turn.goes_on else []
        messages = turn.messages(said) if read is None or await _is_new(db, read, turn) else []
        said = [*said, *messages][-_REMEMBERED:]
        if stream is None:
            if not messages:
                continue
            stream = await _opened(db, name, event, host, messages)
        keyed = [message | {"client_id": client_id_of(stream.transcript, told.count + n)} for n, message in enumerate(messages)]
        await save_display_messages(db, session.id, keyed, last_activity=turn.last_at)
        told = replace(told, count=told.count + len(keyed), event_id=turn.last_id)
    if stream is not None:
        note_told(stream.transcript, told)
        await db.flush()
    return told.count - before.count


async def _known_streams(db: AsyncSession, session_id: UUID, name: StreamName) -> list[Transcript]:
    """Return the streams that may be the session's own, the longest last: more than one where it moved to another project."""
    key = sdk_key(name.sdk_session_id, readable(name.project_key))
    streams = await find_transcripts(db, session_id, readable(name.sdk_session_id[:MAX_UUID]), "")
    own = [stream for stream in streams if sdk_key(name.sdk_session_id, stream.project_key) == key]
    return sorted(own, key=lambda stream: stream.next_seq)


async def _said_last(db: AsyncSession, transcript: Transcript, told: Told) -> list[dict[str, Any]]:
    """Return the last messages that hooks told of a conversation, the last one at the end."""
    names = [client_id_of(transcript, number) for number in range(max(told.replaced, told.count - _REMEMBERED), told.count)]
    messages = await get_messages_of(db, transcript.session_id, names)
    return [messages[name] for name in names if name in messages]


async def _is_new(db: AsyncSession, transcript: Transcript, turn: "_Turn") -> bool:
    """Say whether a turn began after the last entry of a transcript; where clocks differ it may be in it all the same."""
    if turn.prompted_at is None or transcript.mtime is None or turn.prompted_at <= transcript.mtime + _LAG:
        return False
    return not (turn.prompt_id and await names_prompt(db, transcript, turn.prompt_id))


async def _opened(db: AsyncSession, name: StreamName, event: HookEvent, host: str | None, messages: list[dict[str, Any]]) -> OpenStream:
    """Return the stream that what was told stands for; a new one gives its session a title and a directory."""
    stream = await open_stream(db, name, event.captured.captured_at)
    transcript = stream.transcript
    if told_of(transcript) is None:
        title = next((message["content"] for message in messages if message["role"] == "user"), None)
        # Of no rank: whatever a transcript says is a better one.
        note_session(stream, Facts(title=title_of(title) if title else None, working_dir=stream.agent.working_dir))
    path = event.word("transcript_path")
    transcript.source, transcript.host = "hooks", host or transcript.host
    transcript.file_path = readable(path) if path else None
    if transcript.next_seq == 0:
        transcript.file_print = _NOTHING_READ
    return stream


@dataclass
class _Turn:
    """What was said in a turn: a prompt and answers, each in the parts in which it was shown; or in what comes after one that was told."""

    goes_on: bool = False
    prompt: tuple[str, datetime] | None = None
    prompted_at: datetime | None = None
    prompt_id: str = ""
    shown: dict[str, "_Shown"] = field(default_factory=dict)
    last_answers: list[tuple[str, datetime]] = field(default_factory=list)
    is_over: bool = False
    size: int = 0
    last_id: UUID | None = None
    last_at: datetime | None = None

    def add(self, event: AgentLog, payload: dict[str, Any]) -> None:
        self.last_id, self.last_at = event.id, max(self.last_at or event.timestamp, event.timestamp)
        self.is_over |= event.event_type in ENDS_TURN
        text = _text(payload, {"UserPromptSubmit": "prompt", "MessageDisplay": "delta"}.get(event.event_type, "last_assistant_message"))
        self.size += len(text) + _EVENT_CHARACTERS
        if event.event_type == "MessageDisplay":
            shown = self.shown.setdefault(_text(payload, "message_id"), _Shown(event.timestamp))
            shown.add(payload.get("index"), text)
        elif event.event_type != "UserPromptSubmit":
            self.last_answers.append((text, event.timestamp))
        else:
            self.prompted_at, self.prompt_id = event.timestamp, readable(_text(payload, "prompt_id"))
            self.prompt = None if text.lstrip().startswith(NOT_TYPED) else (text, event.timestamp)

    def messages(self, before: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return what was said as display messages; ``before`` it the same turn said what was told."""
        said = [("user", *self.prompt)] if self.prompt else []
        said += [("assistant", shown.text, shown.moment) for shown in self.shown.values()]
        told = [_squeezed(message["content"]) for message in before if message["role"] == "assistant"]
        seen = _squeezed("".join(shown.text for shown in self.shown.values()))
        for text, moment in self.last_answers:
            squeezed = _squeezed(text[:MESSAGE_LIMIT])
            # Older clients do not tell what they show, a hook may be lost, and an end that is captured in two places comes twice.
            if squeezed not in seen and not any(answer.endswith(squeezed) for answer in told):
                seen += squeezed
                said.append(("assistant", text, moment))
        return [_message(role, text, moment) for role, text, moment in said if text.strip()]


@dataclass
class _Shown:
    """An answer in the parts in which it was shown."""

    moment: datetime
    parts: dict[Any, str] = field(default_factory=dict)

    def add(self, index: Any, text: str) -> None:
        self.parts[index if isinstance(index, int) else len(self.parts)] = text

    @property
    def text(self) -> str:
        return "".join(self.parts[index] for index in sorted(self.parts))


async def _turns(db: AsyncSession, session_id: UUID, sdk_session_id: str, after: UUID | None) -> AsyncIterator[_Turn]:
    """Give the turns that are over, each after the one before it; a large one in several parts."""
    turn = _Turn(goes_on=True)
    async for event in _events(db, session_id, sdk_session_id, after):
        payload = event.payload if isinstance(event.payload, dict) else {}
        if _text(payload, "agent_id"):
            # What a sub-agent says is said to its agent.
            continue
        if event.event_type == "UserPromptSubmit":
            if turn.last_id is not None:
                yield turn
            turn = _Turn()
        turn.add(event, payload)
        if turn.size > _LARGE_TURN:
            yield turn
            turn = _Turn(goes_on=True, prompted_at=turn.prompted_at, prompt_id=turn.prompt_id, is_over=turn.is_over)
    if turn.is_over and turn.last_id is not None:
        yield turn


async def _events(db: AsyncSession, session_id: UUID, sdk_session_id: str, after: UUID | None) -> AsyncIterator[AgentLog]:
    last = await get_agent_log(db, session_id, after) if after is not None else None
    index = -1 if last is None else last.event_index
    wanted = readable(sdk_session_id[:MAX_UUID])
    while page := await list_hook_events(db, session_id, wanted, _TELLING, after_index=index, limit=_PAGE):
        for event in page:
            # A list leaves out what is large.
            whole = await get_agent_log(db, session_id, event.event_index) if event.payload is None else event
            yield whole or event
        index = page[-1].event_index


def _text(payload: dict[str, Any], name: str) -> str:
    value = payload.get(name)
    return value if isinstance(value, str) else ""


def _squeezed(text: str) -> str:
    """Return a text without its spaces: where parts were joined there may be other ones."""
    return "".join(text.split())


def _message(role: str, text: str, moment: datetime) -> dict[str, Any]:
    message = {"role": role, "content": readable(text[:MESSAGE_LIMIT]), "timestamp": moment.isoformat(), "source": "hooks"}
    return message | ({"truncated": True} if len(text) > MESSAGE_LIMIT else {})
