"""The rows of generated sessions, table by table, in PostgreSQL's text format for COPY.

Everything about a session is arithmetic on its ``Plan``, so each table's rows can be made by themselves and in a stream. Counters and
totals are what crud would have made of the same rows.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random

from benchmarks.shapes import (
    ANSWERED,
    ANSWERS,
    ENTRIES,
    EVENT_COLUMNS,
    EVENTS,
    KEY,
    MESSAGES,
    PHASE,
    POOL,
    RESULT,
    SAID,
    TEXT,
    THINKING,
    TIME,
    TURN,
    USAGE,
    WORD,
    dollars,
    row,
)
from session_db.crud.transcripts import transcript_id
from session_db.models.sessions import ENDED_STATUSES

FIRST_DAY = 1_704_067_200_000
"""2024-01-01: the sessions begin in the year after it. In milliseconds since 1970, as all moments here."""

YEAR = 365 * 86_400_000

PROJECTS = 2_000

WORDS = 1_000_000

MODEL = "claude-sonnet-4-5"

WORKFLOWS = ("full", "quick", "research")

MEMORY_FILES = ("CLAUDE.md", "docs/architecture.md", "docs/testing.md")


@dataclass(frozen=True, slots=True)
class Plan:
    """What a session is made by."""

    number: int
    events: int
    began: int
    bits: int
    project: int
    first_message_id: int

    @property
    def id(self) -> str:
        return uuid7(self.began, self.bits)

    @property
    def is_workflow(self) -> bool:
        return self.number % 5 == 0

    @property
    def is_recorded(self) -> bool:
        """Say whether it was a session of Claude Code."""
        return self.number % 5 > 1

    @property
    def has_transcript(self) -> bool:
        return self.number % 10 == 2

    @property
    def is_connected(self) -> bool:
        """Say whether a client follows it."""
        return self.number % 50 == 1

    @property
    def agents(self) -> int:
        return 1 + min(self.events // 50, 2_000)

    @property
    def turns(self) -> int:
        return -(-self.events // len(TURN))

    @property
    def messages(self) -> int:
        return messages_of(self.events)

    @property
    def directory(self) -> str:
        return f"/home/dev/projects/project-{self.project:04d}"

    @property
    def project_key(self) -> str:
        return self.directory.replace("/", "-")

    def subpath(self, agent: int) -> str:
        """Return where an agent's stream lies below the session's folder; the main agent's is the session's own."""
        return f"subagents/agent-a{agent:016x}" if agent else ""

    def stream(self, agent: int) -> str:
        return str(transcript_id(self.project_key, self.id, self.subpath(agent)))

    @property
    def status(self) -> str:
        if self.is_workflow:
            return ("build", "failed")[self.number % 2] if self.number % 100 < 10 else "complete"
        return "terminated" if self.number % 20 == 3 else "active" if self.is_connected else "idle"

    @property
    def metadata(self) -> str:
        """Return values that many sessions have, and a tempo that a five-hundredth of the chats about clips has."""
        if self.is_recorded:
            return '{"git_branch": "main", "client_version": "2.1.330"}'
        return "{}" if self.is_workflow else f'{{"item_type": "clip", "bpm": {60 + self.number // 5 % 500}}}'

    @property
    def ended(self) -> int:
        return max(self.moment(index) for index in range(max(0, self.events - 8), self.events))

    def moment(self, index: int) -> int:
        """Return when an event happened: every seventh was recorded three steps before others that it followed."""
        step = 1_000 + self.number * 37 % 7_000
        return self.began + step * (index + (3 if index % 7 == 6 else 0))

    def agent_of_turn(self, turn: int) -> int:
        """Return which agent had a turn: the main agent every second, its sub-agents one after the other the rest."""
        return 0 if turn % 2 == 0 or self.agents == 1 else 1 + turn // 2 % (self.agents - 1)

    def agent_id(self, agent: int) -> str:
        return uuid7(self.began + agent, self.bits ^ (agent + 1) << 20)

    def answers(self) -> Iterator[tuple[int, int, int]]:
        """Give each answer: the index of its first event, its agent and its place in ``ANSWERED``."""
        for start in range(0, self.events, len(TURN)):
            agent = self.agent_of_turn(start // len(TURN))
            for place in ANSWERS:
                if start + place < self.events:
                    yield start + place, agent, (self.number + start + place) % POOL


def messages_of(events: int) -> int:
    """Return how many messages a session of so many events has: a prompt and up to two answers a turn."""
    turns, rest = divmod(events, len(TURN))
    return turns * (1 + len(SAID)) + (1 + sum(place < rest for place in SAID) if rest else 0)


def uuid7(moment: int, bits: int) -> str:
    """Return a UUIDv7 of a moment and 72 bits."""
    random = f"{bits:018x}"
    return f"{moment >> 16:08x}-{moment & 0xFFFF:04x}-7{random[:3]}-8{random[3:6]}-{random[6:]}"


def timestamp(moment: int) -> str:
    return datetime.fromtimestamp(moment / 1000, UTC).isoformat()


def minute(moment: int) -> int:
    return moment - moment % 60_000


def words(plan: Plan, random: Random) -> str:
    """Return a word that as few texts have as its number is high, and one that only the texts of the session have."""
    return f"w{int(WORDS ** random.random())} s{plan.number}"


def _total(answers: Iterable[int]) -> list[int]:
    """Return the sums of the tokens and of the cost of answers."""
    counts = Counter(answers)
    return [sum(count * ANSWERED[answer][column] for answer, count in counts.items()) for column in range(len(ANSWERED[0]))]


def sessions(plan: Plan, _random: Random) -> Iterator[str]:
    *tokens, cost = _total(answer for _, _, answer in plan.answers())
    last = timestamp(plan.ended - plan.ended % 1000)
    kind = WORKFLOWS[plan.number // 5 % 3] if plan.is_workflow else "chat"
    yield row(
        plan.id,
        kind,
        plan.status,
        "done" if plan.status in ENDED_STATUSES else "idle",
        f"task-{plan.number}" if plan.is_workflow else None,
        f"Make part {plan.number} of project {plan.project} work",
        plan.directory if plan.is_workflow or plan.is_recorded else None,
        None if plan.is_workflow else "claude-code" if plan.is_recorded else "strudel",
        MODEL,
        "anthropic",
        "t" if plan.is_recorded else "f",
        f"project-{plan.project:04d}",
        f"host-{plan.project % 20}",
        plan.metadata,
        dollars(cost),
        *tokens,
        plan.messages,
        plan.events,
        timestamp(plan.began),
        last,
        last,
        timestamp(plan.began) if plan.is_workflow else None,
        last if plan.status in ENDED_STATUSES else None,
    )


def agents(plan: Plan, _random: Random) -> Iterator[str]:
    answers: dict[int, list[int]] = defaultdict(list)
    for _, agent, answer in plan.answers():
        answers[agent].append(answer)
    for agent in range(plan.agents):
        *tokens, cost = _total(answers[agent])
        is_main, began = agent == 0, timestamp(plan.began + agent)
        yield row(
            plan.id,
            plan.agent_id(agent),
            None if is_main else plan.agent_id(0),
            "main" if is_main else ("Explore", "general-purpose")[agent % 2],
            MODEL,
            plan.id if is_main and plan.is_recorded else None,
            None if is_main else f"a{agent:016x}",
            None if is_main else f"Look into part {agent}",
            ("complete", "failed")[agent % 50 == 49] if plan.events % 100 else "executing",
            *tokens,
            dollars(cost),
            began,
            timestamp(plan.ended),
            began,
        )


def events(plan: Plan, random: Random) -> Iterator[str]:
    """Give the events in their order; a call and its result have the same tool_use_id."""
    start = plan.id + "\t"
    sdk_session_id = plan.id if plan.is_recorded else r"\N"
    agent_ids = [plan.agent_id(agent) for agent in range(plan.agents)]
    for index in range(plan.events):
        turn, place = divmod(index, len(TURN))
        kind = TURN[place]
        moment = plan.moment(index)
        happened = timestamp(moment)
        # A result follows its call, and is of the same tool.
        call = place - (kind == RESULT)
        shape = EVENTS[kind][(plan.number + turn + call) % POOL]
        agent_id = agent_ids[plan.agent_of_turn(turn)]
        if index == 0 and plan.is_workflow:
            shape, agent_id = PHASE, r"\N"
        if kind not in (TEXT, THINKING):
            shape = shape.replace(KEY, f"toolu_{plan.number:08x}{index - place + call:016x}")
        shape = shape.replace(WORD, words(plan, random))
        yield f"{start}{uuid7(moment, random.getrandbits(72))}\t{index}\t{agent_id}\t{sdk_session_id}\t{happened}\t{happened}\t{shape}"


def messages(plan: Plan, random: Random) -> Iterator[str]:
    number = 0
    for start in range(0, plan.events, len(TURN)):
        said = [start + place for place in SAID if start + place < plan.events]
        for role, index in [("user", start), *(("assistant", index) for index in said)]:
            happened = timestamp(plan.moment(index))
            shape = MESSAGES[role][(plan.number + number) % POOL].replace(TIME, happened).replace(WORD, words(plan, random))
            yield row(plan.id, number, plan.first_message_id + number, shape, f"{role[0]}-{plan.number:08x}-{index}", happened, happened)
            number += 1


def usage(plan: Plan, _random: Random) -> Iterator[str]:
    agent_ids = [plan.agent_id(agent) for agent in range(plan.agents)]
    for index, agent, answer in plan.answers():
        answered = timestamp(plan.moment(index))
        yield f"{plan.id}\tmsg_{plan.number:08x}{index:08x}\t{agent_ids[agent]}\t{MODEL}\t{USAGE[answer]}\t{answered}\n"


def activity_minutes(plan: Plan, _random: Random) -> Iterator[str]:
    pulse: dict[int, list[int]] = defaultdict(lambda: [0, 0])
    for index in range(plan.events):
        pulse[minute(plan.moment(index))][0] += 1
    for index, _, answer in plan.answers():
        pulse[minute(plan.moment(index))][1] += ANSWERED[answer][-1]
    for moment, (count, cost) in pulse.items():
        yield row(plan.id, timestamp(moment), count, dollars(cost))


def memory_files(plan: Plan, _random: Random) -> Iterator[str]:
    """Give the memory files of every twentieth session; the first one is the primary one."""
    if plan.number % 20 == 0:
        began = timestamp(plan.began)
        for place, path in enumerate(MEMORY_FILES):
            number = plan.number // 20 * len(MEMORY_FILES) + place + 1
            yield row(plan.id, number, f"{plan.directory}/{path}", "t" if place == 0 else "f", "t", began, began)


def sdk_sessions(plan: Plan, _random: Random) -> Iterator[str]:
    if plan.is_recorded:
        yield row(plan.id, plan.id, plan.agent_id(0), "auto", timestamp(plan.began))


def presence(plan: Plan, random: Random) -> Iterator[str]:
    if plan.is_connected:
        yield row(uuid7(plan.ended, random.getrandbits(72)), plan.id, "host-1 4711", timestamp(FIRST_DAY + 100 * YEAR))


def transcripts(plan: Plan, _random: Random) -> Iterator[str]:
    """Give the session's own stream, with an entry for each event, and one with a single entry for each sub-agent."""
    if not plan.has_transcript:
        return
    folder = f"/home/dev/.claude/projects/{plan.project_key}"
    times = (timestamp(plan.ended), timestamp(plan.began))
    for agent in range(plan.agents):
        subpath, count = plan.subpath(agent), 1 if agent else plan.events
        names = (plan.id, plan.stream(agent), plan.agent_id(agent), plan.project_key, plan.id, subpath, "file")
        path = f"{folder}/{plan.id}/{subpath}.jsonl" if subpath else f"{folder}/{plan.id}.jsonl"
        yield row(*names, count, count, path, 900 * count, *times)


def transcript_entries(plan: Plan, random: Random) -> Iterator[str]:
    if not plan.has_transcript:
        return
    for agent in range(plan.agents):
        stream = plan.stream(agent)
        for seq in range(1 if agent else plan.events):
            uuid = uuid7(plan.moment(seq), random.getrandbits(72))
            entry = ENTRIES[(plan.number + seq) % POOL].replace(KEY, uuid).replace(TIME, timestamp(plan.moment(seq)))
            yield row(plan.id, stream, seq, uuid, entry)


@dataclass(frozen=True)
class Rows:
    """How the rows of one table are made."""

    table: str
    columns: tuple[str, ...]
    of: Callable[[Plan, Random], Iterable[str]]


_TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")

TABLES = (
    Rows(
        "sessions",
        (
            "id", "session_type", "status", "activity", "session_slug", "title", "working_dir", "agent_name", "model_name", "provider",
            "use_claude_code", "current_project", "host", "metadata", "total_cost", *(f"total_{name}" for name in _TOKENS),
            "message_count", "event_count", "created_at", "updated_at", "last_activity", "started_at", "completed_at",
        ),
        sessions,
    ),
    Rows(
        "agents",
        (
            "session_id", "id", "parent_agent_id", "agent_type", "model", "sdk_session_id", "sdk_agent_id", "name", "status",
            *_TOKENS, "cost", "created_at", "updated_at", "started_at",
        ),
        agents,
    ),
    Rows(
        "agent_logs",
        ("session_id", "id", "event_index", "agent_id", "sdk_session_id", "timestamp", "recorded_at", *EVENT_COLUMNS),
        events,
    ),
    Rows("messages", ("session_id", "message_index", "id", "message_data", "client_id", "said_at", "created_at"), messages),
    Rows(
        "usage",
        (
            "session_id", "message_id", "agent_id", "model", "input_tokens", "output_tokens", "cache_read_tokens", "cache_write_5m_tokens",
            "computed_cost", "occurred_at",
        ),
        usage,
    ),
    Rows("activity_minutes", ("session_id", "minute", "events", "cost"), activity_minutes),
    Rows("memory_files", ("session_id", "id", "file_path", "is_primary", "loaded", "created_at", "updated_at"), memory_files),
    Rows("presence", ("connection_id", "session_id", "worker", "expires_at"), presence),
    Rows("sdk_sessions", ("sdk_key", "session_id", "agent_id", "bound_by", "created_at"), sdk_sessions),
    Rows(
        "transcripts",
        (
            "session_id", "id", "agent_id", "project_key", "sdk_session_id", "subpath", "source", "next_seq", "projected_seq",
            "file_path", "file_offset", "mtime", "created_at",
        ),
        transcripts,
    ),
    Rows("transcript_entries", ("session_id", "transcript_id", "seq", "uuid", "entry"), transcript_entries),
)  # fmt: skip
"""Parents first: each table's keys are checked at the end of its COPY."""
