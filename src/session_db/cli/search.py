"""The command ``search``: what was said and done, in all sessions."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Annotated, cast

import typer
from rich.padding import Padding
from rich.text import Text

from session_db.cli.inputs import JSON, Cursor
from session_db.cli.moments import Since, Until, moment_of
from session_db.cli.output import console, page_json, print_json, printable
from session_db.cli.running import refuse_bytes, refuse_others, run
from session_db.cli.sessions import find_session
from session_db.crud import Page, search_records
from session_db.crud.search import MAX_LIMIT
from session_db.database import get_async_session
from session_db.lines import one_line
from session_db.models.search import HitType, SearchHit
from session_db.models.sessions import SessionType

_EMPTY_PAGES = 20
"""Pages without a hit that are gone through before somebody is asked to go on."""

_COMMANDS = {
    "session": "session-db sessions show {0.session_id}",
    "message": "session-db messages list {0.session_id} --after {1}",
    "event": "session-db events show {0.session_id} {0.event_index}",
}


def add_to(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(search)


def search(  # noqa: PLR0913, PLR0917  each filter is an option
    words: Annotated[list[str], typer.Argument(metavar="WORDS", help='Words to find; "several in quotes" one after the other.')],
    hit_type: Annotated[str | None, typer.Option("--type", help="Only session, message or event.")] = None,
    session: Annotated[str | None, typer.Option(metavar="ID|SLUG", help="Only of this session.")] = None,
    session_type: Annotated[str | None, typer.Option(help="Only of full, quick, research or chat sessions.")] = None,
    project: Annotated[str | None, typer.Option(help="Only of sessions with this current_project.")] = None,
    working_dir: Annotated[str | None, typer.Option("--dir", help="Only of the project in this directory.")] = None,
    event_type: Annotated[str | None, typer.Option(help="Only events of this type, e.g. ThinkingBlock.")] = None,
    tool: Annotated[str | None, typer.Option(help="Only events of this tool.")] = None,
    tool_output: Annotated[bool, typer.Option("--tool-output", help="Also in what tools gave.")] = False,  # noqa: FBT002
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(min=1, max=MAX_LIMIT, help="Hits a page.")] = 10,
    cursor: Cursor = None,
    as_json: JSON = False,  # noqa: FBT002  a command-line flag
) -> None:
    """Search names of sessions, messages and what agents did, the newest first.

    All words must be there, and the last one may be the beginning of one. *or* stands between alternatives; after **--** a word with a dash
    before it must not be there: session-db search -- error -timeout
    """

    async def find() -> Page[SearchHit]:
        refuse_bytes(
            words=" ".join(words), session=session, project=project, dir=working_dir, event_type=event_type, tool=tool, cursor=cursor
        )
        refuse_others("type", hit_type, HitType)
        refuse_others("session type", session_type, SessionType)
        begin, end = moment_of("since", since), moment_of("until", until)

        async with get_async_session() as db:
            search_from = partial(
                search_records,
                db,
                " ".join(map(_phrase, words)),
                hit_type=cast("HitType | None", hit_type),
                session_id=None if session is None else (await find_session(db, session)).id,
                session_type=session_type,
                current_project=project,
                working_dir=working_dir,
                event_type=event_type,
                tool_name=tool,
                tool_output=tool_output,
                since=begin,
                until=end,
                limit=limit,
            )
            return await _first_page(search_from, cursor)

    page = run(find, as_json=as_json)
    if as_json:
        print_json(page_json(page, page.next_cursor))
    else:
        _print_page(page, tool_output=tool_output)


async def _first_page(search_from: Callable[..., Awaitable[Page[SearchHit]]], cursor: str | None) -> Page[SearchHit]:
    """Go on where a page ends before it found anything, a few times."""
    page = await search_from(cursor=cursor)
    for _ in range(_EMPTY_PAGES):
        if page or page.next_cursor is None:
            break
        page = await search_from(cursor=page.next_cursor)
    return page


def _print_page(page: Page[SearchHit], *, tool_output: bool) -> None:
    if not page:
        elsewhere = "" if tool_output else " --tool-output also looks into what tools gave."
        console().print(f"Nothing found.{elsewhere}", soft_wrap=True)
    for hit in page:
        _print_hit(hit)
    if page.next_cursor:
        console().print(Text(f"More: the same with --cursor {page.next_cursor}", style="dim"), soft_wrap=True)


def _phrase(words: str) -> str:
    """Return several words that the shell was given as one, as a phrase; one that says itself what is a phrase is left alone."""
    return f'"{words}"' if len(words.split()) > 1 and '"' not in words else words


def _print_hit(hit: SearchHit) -> None:
    out = console()
    what = hit.role or hit.tool_name or hit.event_type or hit.type
    name = Text(one_line(hit.display_name), style="bold")
    head = Text.assemble((f"{hit.timestamp:%Y-%m-%d %H:%M}  ", "dim"), (f"{one_line(what)}  ", "cyan"), name)
    out.print(head, no_wrap=True, overflow="ellipsis")
    snippet = Text.assemble(*((printable(part.text), "bold yellow" if part.matches else "") for part in hit.snippet))
    out.print(Padding(snippet, (0, 2)))
    before = None if hit.message_index is None else hit.message_index - 1
    out.print(Text(f"  {_COMMANDS[hit.type].format(hit, before)}", style="dim"), soft_wrap=True)
    out.print()
