"""The commands ``messages list|append``."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import typer
from rich.padding import Padding
from rich.text import Text

from session_db.cli.inputs import JSON, Cursor, Limit, json_values, name_of, read_text, text_or_file
from session_db.cli.output import console, print_json, printable, quoted
from session_db.cli.running import refuse_bytes, run
from session_db.cli.sessions import Key, WorkingDir, find_session
from session_db.crud import AppendedMessage, Page, list_messages, save_display_messages
from session_db.database import UnitOfWork, get_async_session, in_transaction
from session_db.errors import InvalidInput
from session_db.lines import one_line
from session_db.models.table import as_utc

SHOWN_LINES = 20
SHOWN_CHARACTERS = 4000
"""What a list shows of a message, unless told to show all."""

app = typer.Typer(help="List and append the messages of a session.", no_args_is_help=True)


@app.command("list")
def list_(  # noqa: PLR0913, PLR0917  each is an option
    key: Key,
    working_dir: WorkingDir = None,
    before: Annotated[int | None, typer.Option(help="Only messages before this index.")] = None,
    after: Annotated[int | None, typer.Option(help="Only messages after this index, the first of them first.")] = None,
    limit: Limit = 20,
    cursor: Cursor = None,
    full: Annotated[bool, typer.Option("--full", help="Show long messages to their end.")] = False,  # noqa: FBT002  a command-line flag
    as_json: JSON = False,  # noqa: FBT002  a command-line flag
) -> None:
    """List messages in the order of the conversation: the last ones, and with the cursor those before them."""

    async def load_page() -> Page[dict[str, Any]]:
        refuse_bytes(cursor=cursor)
        async with get_async_session() as db:
            session = await find_session(db, key, working_dir)
            return await list_messages(db, session.id, before_index=before, after_index=after, limit=limit, cursor=cursor)

    page = run(load_page, as_json=as_json)
    if as_json:
        print_json({"items": page, "next_cursor": page.next_cursor})
        return
    if not page:
        append = f"session-db messages append {quoted(key)} --role user --content …"
        matching = before is not None or after is not None or cursor is not None
        console().print(Text("No messages match." if matching else f"No messages yet. {append} adds one."), soft_wrap=True)
    for message in page:
        console().print(_heading(message))
        _print_content(str(message.get("content", "")), full=full)
    if page.next_cursor:
        _print_more(key, page, after=after)


def _print_more(key: str, page: Page[dict[str, Any]], *, after: int | None) -> None:
    place = f"--before {page[0]['message_index']}" if after is None else f"--after {page[-1]['message_index']}"
    more = "Earlier ones" if after is None else "More"
    console().print(Text(f"{more}: session-db messages list {quoted(key)} {place}", style="dim"), soft_wrap=True)


def _heading(message: dict[str, Any]) -> Text:
    role = str(message.get("role"))
    return Text.assemble(
        (f"{message['message_index']}  ", "dim"),
        (one_line(role), "bold cyan" if role == "user" else "bold magenta"),
        (f"  {_moment(message.get('timestamp'))}", "dim"),
    )


def _print_content(content: str, *, full: bool) -> None:
    out = console()
    if full:
        # The terminal wraps it: it may be long, and somebody may want to copy it.
        out.print(Text(printable(content)), soft_wrap=True)
    else:
        shown = _beginning(content)
        out.print(Padding(Text(printable(shown).strip("\n"), overflow="fold"), (0, 0, 0, 2), expand=False))
        if len(shown) < len(content):
            out.print(Text(f"  … {len(content) - len(shown):,} more characters; --full shows them", style="dim"))
    out.print()


def _beginning(content: str) -> str:
    """Return as many whole lines as are shown, of no more characters than are shown."""
    return "\n".join(content[:SHOWN_CHARACTERS].split("\n")[:SHOWN_LINES])


def _moment(timestamp: Any) -> str:
    """Write the sender's time in UTC; one that is none as it was sent."""
    try:
        return f"{as_utc(datetime.fromisoformat(timestamp)):%Y-%m-%d %H:%M:%S}"
    except (TypeError, ValueError):
        return one_line(str(timestamp or ""))


@app.command()
def append(  # noqa: PLR0913, PLR0917  each is an option
    key: Key,
    working_dir: WorkingDir = None,
    role: Annotated[str | None, typer.Option(help="Who speaks: user, assistant or system.")] = None,
    content: Annotated[str | None, typer.Option(help="What is said; - reads standard input.")] = None,
    content_file: Annotated[str | None, typer.Option(metavar="FILE|-", help="File with what is said.")] = None,
    client_id: Annotated[str | None, typer.Option(help="Your key of the message: sent again it changes nothing.")] = None,
    json_message: Annotated[
        str | None, typer.Option(metavar="FILE|-", help="File with a whole message, an array of them, or JSON lines.")
    ] = None,
    as_json: JSON = False,  # noqa: FBT002  a command-line flag
) -> None:
    """Append one message, or with --json-message many, and print where each stands."""

    async def save() -> tuple[UUID, list[AppendedMessage]]:
        messages = _given(role, text_or_file("content", content, content_file), client_id, json_message)

        async def work(db: UnitOfWork) -> tuple[UUID, list[AppendedMessage]]:
            session = await find_session(db, key, working_dir)
            return session.id, await save_display_messages(db, session.id, messages)

        return await in_transaction(work)

    session_id, appended = run(save, as_json=as_json)
    if as_json:
        print_json({"session_id": str(session_id), "messages": [message._asdict() for message in appended]})
    else:
        console().print(_outcome(appended))


def _given(role: str | None, content: str | None, client_id: str | None, json_message: str | None) -> list[Any]:
    """Return the messages that the options give."""
    refuse_bytes(role=role, client_id=client_id)
    if json_message is None:
        if content is None:
            raise InvalidInput("nothing to append; say it with --content, --content-file or --json-message.")
        if role is None:
            raise InvalidInput("nobody says it; use --role user, --role assistant or --role system.")
        return [{"role": role, "content": content, "client_id": client_id}]
    if role is not None or content is not None or client_id is not None:
        raise InvalidInput("--json-message holds whole messages; leave --role, --content and --client-id out, or put them in there.")
    values = json_values(read_text(json_message), name_of(json_message))
    messages = values[0] if len(values) == 1 and isinstance(values[0], list) else values
    if not messages:
        raise InvalidInput(f"{name_of(json_message)} holds no message; send an object with role and content, or several.")
    return messages


def _outcome(appended: Sequence[AppendedMessage]) -> str:
    new = [message.message_index for message in appended if message.is_new]
    if len(appended) == 1:
        index = appended[0].message_index
        return f"Message {index} was appended." if new else f"Message {index} was there already; nothing changed."
    there = len(appended) - len(new)
    known = f"; {there:,} of {len(appended):,} were there already" if there else ""
    if not new:
        return f"All {len(appended):,} messages were there already; nothing changed."
    return (f"Messages {new[0]} to {new[-1]} were appended" if len(new) > 1 else f"Message {new[0]} was appended") + f"{known}."
