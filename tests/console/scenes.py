"""Sessions and items as people have them, for tests of the console and for pictures of it."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import text

from session_db import crud
from session_db.crud.usage import put_usage
from session_db.crud.workflow import advance_session, finish_agent, start_agent
from session_db.database import UnitOfWork, get_async_session
from session_db.models import (
    AgentLogCreate,
    ClipCreate,
    ClipUpdate,
    MemoryFileCreate,
    PlaylistCreate,
    SessionCreate,
    SessionUpdate,
    SongCreate,
)
from tests.factories import event, make_session, message

SLUG = "2026-11-20_token-rotation"

KICK = """// a plain house beat
setcpm(122/4)
$: s("bd*4").gain(0.9)
$: s("[~ hh]*4").gain(0.4)
"""
PUNCHIER = KICK.replace("gain(0.9)", "gain(1.2).distort(0.3)").replace("[~ hh]*4", "[~ hh]*4, ~ cp ~ cp")

ANSWER = """The refresh token was **never rotated**. I changed two places:

1. `auth/tokens.py` makes a new token with each login.
2. `auth/middleware.py` refuses the old one.

```python
def rotate(token: Token) -> Token:
    token.revoked_at = now()
    return Token(owner=token.owner, family=token.family)
```

| test | before | after |
|---|---|---|
| `test_rotation` | failed | passes |

See [RFC 6749](https://www.rfc-editor.org/rfc/rfc6749) for why."""


class Scenes(NamedTuple):
    """Ids of what was made."""

    workflow: UUID
    chat: UUID
    waiting: UUID


async def make_scenes(workspace: Path) -> Scenes:
    """Fill the database: workflows in several states, chats, and a studio."""
    workspace.mkdir(parents=True, exist_ok=True)
    async with get_async_session() as db:
        await _make_small_ones(db)
        chat = await _make_studio(db)
        waiting = await _make_waiting(db)
        workflow = await _make_workflow(db, workspace)
    # The session's folder is made when it is committed.
    _write_plan(workspace / "agents" / "sessions" / SLUG)
    return Scenes(workflow, chat, waiting)


def _write_plan(folder: Path) -> None:
    (folder / "spec.md").write_text("# Rotate refresh tokens\n\nEach login **ends** the token before it.\n\n- [x] a model\n- [ ] a route\n")
    (folder / "plan.json").write_text(
        '{"checkpoints": [{"title": "Model and migration", "status": "complete"}, {"title": "Route", "status": "in_progress"},'
        ' {"title": "Documents", "description": "What a client has to change"}]}'
    )


async def _make_workflow(db: UnitOfWork, workspace: Path) -> UUID:
    wanted = {"session_slug": SLUG, "title": "Rotate refresh tokens", "working_dir": str(workspace), "current_project": "shop"}
    session = await crud.create_session(db, SessionCreate.model_validate(wanted), workspace=True)
    for phase in ("spec", "plan"):
        agent = await start_agent(db, session.id, phase, model="claude-opus-5-5")
        await finish_agent(db, agent.id, session.id)
    build = await start_agent(
        db, session.id, "build", model="claude-opus-5-5", checkpoint_id=1, sdk_session_id="3f0c9e0e-52b7-4c39-9f0f-7f2d3c3b8a11"
    )
    helper = await start_agent(db, session.id, "explorer", name="find every caller", parent_agent_id=build.id, model="claude-haiku-5-5")
    await _begin_before(db, session.id)
    await _add_usage(db, session.id, build.id, 1.31)
    await _add_usage(db, session.id, helper.id, 0.04)
    await crud.append_agent_logs(db, _work(session.id, build.id, helper.id))
    await crud.save_display_messages(
        db, session.id, [message("Why do old refresh tokens still work?"), message(ANSWER, role="assistant"), message("And on logout?")]
    )
    await crud.create_memory_file(db, MemoryFileCreate(session_id=session.id, file_path=str(workspace / "CLAUDE.md"), is_primary=True))
    await crud.update_session(db, session.id, SessionUpdate(activity="working", pinned=True))
    return session.id


async def _begin_before(db: UnitOfWork, session_id: UUID) -> None:
    """Move what there is of a session back: its phases came before its calls, as they do."""
    moved = {
        "sessions": ("id", ["created_at"]),
        "agents": ("session_id", ["started_at", "completed_at"]),
        "agent_logs": ("session_id", ["timestamp"]),
        "activity_minutes": ("session_id", ["minute"]),
    }
    for table, (key, columns) in moved.items():
        changes = ", ".join(f"{column} = {column} - interval '5 minutes'" for column in columns)
        await db.execute(text(f"UPDATE {table} SET {changes} WHERE {key} = :id"), {"id": session_id})


async def _add_usage(db: UnitOfWork, session_id: UUID, agent_id: UUID, cost: float) -> None:
    row = {"message_id": f"msg_{agent_id}", "agent_id": agent_id, "model": "claude-opus-5-5", "input_tokens": 9_120, "output_tokens": 3_310}
    more = {"cache_read_tokens": 180_400, "cache_write_5m_tokens": 12_000, "cache_write_1h_tokens": 0, "web_search_requests": 0}
    paid = {"computed_cost": Decimal(str(cost)), "reported_cost": None, "occurred_at": datetime.now(UTC)}
    await put_usage(db, session_id, [row | more | paid], {})


def _work(session_id: UUID, build: UUID, helper: UUID) -> list[AgentLogCreate]:
    """Return events as hooks tell them: calls with a beginning and an end, one that failed, one that runs."""
    start = datetime.now(UTC) - timedelta(minutes=4)
    calls = [
        (build, "Read", {"file_path": "auth/tokens.py"}, 0.0, 90, "ok"),
        (build, "Grep", {"pattern": "refresh_token"}, 3.0, 240, "ok"),
        (helper, "Bash", {"command": "git grep -n rotate"}, 6.0, 1_800, "ok"),
        (helper, "Read", {"file_path": "auth/middleware.py"}, 12.0, 110, "ok"),
        (
            build,
            "Edit",
            {"file_path": "auth/tokens.py", "old_string": "return token", "new_string": "return rotate(token)"},
            21.0,
            150,
            "ok",
        ),
        (build, "Bash", {"command": "pytest tests/auth -q"}, 30.0, 21_000, "failed"),
        (build, "Edit", {"file_path": "auth/middleware.py", "old_string": "pass", "new_string": "raise Expired()"}, 64.0, 130, "ok"),
        (build, "Bash", {"command": "pytest tests/auth -q"}, 75.0, 19_000, None),
    ]
    events = []
    for number, (agent, tool, given, at, took, outcome) in enumerate(calls):
        call = {"agent_id": agent, "tool_name": tool, "tool_use_id": f"toolu_{number}"}
        began = start + timedelta(seconds=at)
        events.append(event(session_id, event_type="PreToolUse", tool_input=given, timestamp=began, **call))
        if outcome is not None:
            kind = "PostToolUse" if outcome == "ok" else "PostToolUseFailure"
            ended = began + timedelta(milliseconds=took)
            output = "2 failed, 31 passed" if outcome == "failed" else "done"
            events.append(event(session_id, event_type=kind, tool_output=output, duration_ms=took, timestamp=ended, payload={}, **call))
    return events


async def _make_waiting(db: UnitOfWork) -> UUID:
    session = await make_session(
        db, agent_name="claude-code", model_name="claude-opus-5-5", session_name="Upgrade the payment library", working_dir="/home/me/pay"
    )
    await crud.save_display_messages(db, session.id, [message("Upgrade it to the new major version.")])
    await crud.update_session(db, session.id, SessionUpdate(activity="waiting"))
    return session.id


async def _make_small_ones(db: UnitOfWork) -> None:
    names = ["Explain the build", "Flaky test in CI", "Rename the basket", "Spike: vector search", "Faster start", "Notes on caching"]
    for number, name in enumerate(names):
        values = {"agent_name": "claude-code", "model_name": "claude-haiku-5-5", "session_name": name, "working_dir": "/home/me/shop"}
        session = await make_session(db, **values)
        await crud.save_display_messages(db, session.id, [message(f"{name}, please."), message("Done.", role="assistant")])
        activity = ("done", "idle", "done", "lost", "done", "idle")[number]
        await crud.append_agent_logs(db, _day(session.id, number))
        await crud.update_session(db, session.id, SessionUpdate.model_validate({"activity": activity}))
    failed = await make_session(db, session_slug="2026-11-18_search", title="Search by meaning", working_dir="/home/me/shop")
    await advance_session(db, failed.id, "plan")
    await crud.update_session(
        db,
        failed.id,
        SessionUpdate.model_validate({"status": "failed", "activity": "failed", "error_message": "the plan agent ran out of budget"}),
    )


def _day(session_id: UUID, number: int) -> list[AgentLogCreate]:
    """Return events of the last day, some hours of it busier than others."""
    now = datetime.now(UTC)
    minutes = [60 * hour + 7 * each for hour in range(number, 24, 6) for each in range(1 + (hour * 5) % 7)]
    return [event(session_id, event_type="Notification", timestamp=now - timedelta(minutes=minute)) for minute in minutes]


async def _make_studio(db: UnitOfWork) -> UUID:
    clips = {
        "kick": {"color": "#e4572e", "bpm": 122, "scale": "C:minor", "tags": ["drums", "house"]},
        "bass": {"color": "#17bebb", "bpm": 122, "scale": "C:minor", "tags": ["bass"]},
        "pad": {"color": "#7768ae", "bpm": 122, "scale": "C:minor", "tags": ["pad", "slow"]},
        "arp": {"color": "#ffc914", "bpm": 122, "scale": "G:dorian", "tags": ["lead"]},
    }
    for clip_id, metadata in clips.items():
        created = {"clip_id": clip_id, "project_id": "house", "name": clip_id.title(), "code": KICK, "metadata": metadata}
        await crud.create_clip(db, ClipCreate.model_validate(created))
    chat = await crud.create_session(
        db,
        SessionCreate.model_validate(
            {
                "agent_name": "strudel",
                "model_name": "grok-4-fast",
                "session_name": "Kick",
                "metadata": {"item_type": "clip", "item_id": "kick"},
            }
        ),
    )
    changes = {"before": KICK, "after": PUNCHIER}
    await crud.save_display_messages(
        db, chat.id, [message("Make the kick punchier"), message("More gain, and some distortion.", role="assistant", code_changes=changes)]
    )
    await crud.update_clip(db, "kick", ClipUpdate.model_validate({"code": PUNCHIER, "session_id": chat.id, "message_index": 1}))
    await crud.create_song(
        db,
        SongCreate.model_validate({"song_id": "night", "project_id": "house", "name": "Night drive", "clip_ids": ["kick", "bass", "kick"]}),
    )
    await crud.create_playlist(
        db, PlaylistCreate.model_validate({"playlist_id": "set", "project_id": "house", "name": "Friday", "song_ids": ["night"]})
    )
    return chat.id
