"""The commands ``sessions create|update``."""

from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer
from rich.text import Text

from session_db.cli.inputs import JSON, json_object
from session_db.cli.output import as_json as model_json
from session_db.cli.output import console, print_json
from session_db.cli.running import refuse_bytes, run
from session_db.cli.sessions import Key, WorkingDir, app, find_session, refuse_unknown
from session_db.crud import create_session, update_session, update_session_name
from session_db.database import UnitOfWork, in_transaction
from session_db.errors import InvalidInput, NotFound
from session_db.lines import one_line
from session_db.models import Session, SessionCreate, SessionNameUpdate, SessionRead, SessionUpdate

__all__ = ["app"]

Agent = Annotated[str | None, typer.Option(help="Agent of a chat session, e.g. claude-code.")]
Model = Annotated[str | None, typer.Option(help="Language model.")]
Name = Annotated[str | None, typer.Option(help="Name that people see.")]
Slug = Annotated[str | None, typer.Option(help="Folder name of a workflow session, e.g. 2026-01-15_auth-feature.")]
Title = Annotated[str | None, typer.Option(help="What it is about, in a line.")]
Description = Annotated[str | None, typer.Option(help="What it is about, at length.")]
Project = Annotated[str | None, typer.Option(help="current_project, the project that is worked on.")]
NewDir = Annotated[
    str | None, typer.Option("--dir", help="Absolute path of the project.", show_default="of a workflow session the current directory")
]
Type = Annotated[str | None, typer.Option("--type", help="full, quick, research or chat.", show_default="full with --slug, else chat")]
NewID = Annotated[UUID | None, typer.Option("--id", help="Id to give it.", show_default="a new one")]
Status = Annotated[
    str | None, typer.Option(help="Chat: active, idle, terminated; else created, spec, plan, build, docs, complete, failed.")
]
Error = Annotated[str | None, typer.Option(help="error_message, why it failed.")]
Pinned = Annotated[bool | None, typer.Option("--pinned/--no-pinned", help="Whether every cleanup keeps it.")]
Metadata = Annotated[str | None, typer.Option(metavar="JSON", help="JSON object that is kept with it.")]
Workspace = Annotated[
    bool | None,
    typer.Option(
        "--workspace/--no-workspace",
        help="Whether it has a folder, agents/sessions/SLUG, in its project.",
        show_default="of a workflow session with a slug, where the project is on this machine",
    ),
]
NewMetadata = Annotated[str | None, typer.Option(metavar="JSON", help="JSON object that replaces its metadata; the name stays.")]


@app.command()
def create(  # noqa: PLR0913, PLR0917  each field is an option
    agent: Agent = None,
    model: Model = None,
    name: Name = None,
    slug: Slug = None,
    title: Title = None,
    description: Description = None,
    working_dir: NewDir = None,
    session_type: Type = None,
    project: Project = None,
    session_id: NewID = None,
    metadata: Metadata = None,
    workspace: Workspace = None,
    as_json: JSON = False,  # noqa: FBT002  a command-line flag
) -> None:
    """Create a chat session (with --agent), or a workflow session (with --slug)."""
    is_workflow = slug is not None or session_type not in (None, "chat")
    texts = {
        "agent_name": agent,
        "model_name": model,
        "session_name": name,
        "session_slug": slug,
        "title": title,
        "description": description,
        "working_dir": str(Path.cwd()) if is_workflow and working_dir is None else working_dir,
        "session_type": session_type,
        "current_project": project,
    }

    async def work() -> Session:
        refuse_bytes(**texts)
        refuse_unknown(None, session_type)
        if agent is None and not is_workflow:
            raise InvalidInput("which session? Give a chat's --agent, or a workflow's --slug.")
        wanted = SessionCreate.model_validate(_given(texts, metadata) | {"session_id": session_id})
        has_folder = _has_folder(wanted, workspace)
        return await in_transaction(lambda db: create_session(db, wanted, workspace=has_folder))

    _print("Created", run(work, as_json=as_json), as_json=as_json)


@app.command()
def update(  # noqa: PLR0913, PLR0917  each field is an option
    key: Key,
    working_dir: WorkingDir = None,
    status: Status = None,
    name: Name = None,
    title: Title = None,
    description: Description = None,
    agent: Agent = None,
    model: Model = None,
    slug: Slug = None,
    project: Project = None,
    error: Error = None,
    pinned: Pinned = None,
    metadata: NewMetadata = None,
    as_json: JSON = False,  # noqa: FBT002  a command-line flag
) -> None:
    """Change what is given of a session; an empty text clears. A change of status is recorded as an event."""
    texts = {
        "status": status,
        "title": title,
        "description": description,
        "agent_name": agent,
        "model_name": model,
        "session_slug": slug,
        "current_project": project,
        "error_message": error,
    }

    async def work() -> Session:
        refuse_bytes(**texts, name=name)
        changes = {field: None if value == "" else value for field, value in _given(texts, metadata).items()}
        if pinned is not None:
            changes["pinned"] = pinned
        if not changes and name is None:
            raise InvalidInput("nothing to change; say what, e.g. --title or --status. --help lists all.")
        wanted = SessionUpdate.model_validate(changes)
        return await in_transaction(lambda db: _update(db, key, working_dir, wanted, name))

    _print("Updated", run(work, as_json=as_json), as_json=as_json)


def _has_folder(wanted: SessionCreate, workspace: bool | None) -> bool:  # noqa: FBT001  what an option said
    """Say whether a new session gets a folder; where it is asked for and cannot be made, nothing is created."""
    is_here = wanted.working_dir is not None and Path(wanted.working_dir).is_dir()
    if workspace and wanted.working_dir is not None and not is_here:
        problem = f"there is no directory {wanted.working_dir} here; make it first, or leave --workspace out."
        raise InvalidInput(problem, working_dir=wanted.working_dir)
    if workspace is None:
        return is_here and wanted.session_slug is not None and wanted.session_type != "chat"
    return workspace


def _given(texts: dict[str, str | None], metadata: str | None) -> dict[str, Any]:
    """Return the fields that were given, by their names in the models."""
    given: dict[str, Any] = {field: text for field, text in texts.items() if text is not None}
    return given if metadata is None else given | {"metadata": json_object(metadata, "--metadata")}


async def _update(db: UnitOfWork, key: str, working_dir: str | None, wanted: SessionUpdate, name: str | None) -> Session:
    session = await find_session(db, key, working_dir)
    name_before = session.session_name
    updated: Session | None = await update_session(db, session.id, wanted)
    if updated is not None and name is None and updated.session_name is None:
        # It stands in the metadata, where nobody who replaces them here would look for it.
        name = name_before
    if updated is not None and name is not None:
        updated = await update_session_name(db, session.id, SessionNameUpdate(name=name or None))
    if updated is None:
        raise NotFound(f"session {session.id} was deleted in the meantime.", session_id=session.id)
    return updated


def _print(done: str, session: Session, *, as_json: bool) -> None:
    if as_json:
        print_json(model_json(SessionRead.model_validate(session)))
    else:
        console().print(Text(f"{done} {one_line(session.display_name)}: {session.id}"), soft_wrap=True)
