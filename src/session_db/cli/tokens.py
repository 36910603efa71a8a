"""The commands ``tokens create|list|revoke``."""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import UUID

import typer
from rich.table import Table
from rich.text import Text

from session_db.api.hook_tokens import HookTokens
from session_db.cli.inputs import JSON, Cursor, Limit
from session_db.cli.output import ago, console, messages_console, page_json, print_json
from session_db.cli.output import as_json as model_json
from session_db.cli.running import refuse_bytes, refuse_others, run
from session_db.crud import tokens
from session_db.crud.paging import Page
from session_db.crud.tokens import MadeToken
from session_db.database import get_async_session
from session_db.errors import InvalidInput, NotFound
from session_db.lines import one_line
from session_db.models import Token, TokenCreate, TokenRead
from session_db.models.table import as_utc
from session_db.models.tokens import Scope
from session_db.settings import get_settings

app = typer.Typer(help="Create, list and revoke tokens of the service.", no_args_is_help=True)

_SPANS = {"d": "days", "h": "hours", "m": "minutes"}


@app.command()
def create(
    name: Annotated[str, typer.Option(help="What it is for.")],
    scope: Annotated[str, typer.Option(help="read, write, hooks or admin.")] = "write",
    expires: Annotated[str | None, typer.Option(help="When it ends to work: 30d, 12h, or a date like 2027-01-01. Default: never.")] = None,
    as_json: JSON = False,  # noqa: FBT002  a command-line flag
) -> None:
    """Make a token and print it, this once: only a hash of it is kept."""

    async def make() -> MadeToken:
        refuse_bytes(name=name, scope=scope, expires=expires)
        refuse_others("scope", scope, Scope)
        wanted = TokenCreate.model_validate({"name": name, "scope": scope, "expires_at": expires and moment_of(expires)})
        async with get_async_session() as db:
            return await tokens.create_token(db, wanted)

    token, text = run(make, as_json=as_json)
    if as_json:
        print_json(model_json(TokenRead.model_validate(token)) | {"token": text})
        return
    print(text)  # noqa: T201  it is what a command is for
    ends = f"until {token.expires_at:%Y-%m-%d %H:%M} UTC" if token.expires_at else "until it is revoked"
    messages_console().print(Text(f"It works {ends}, with scope {token.scope}. It is not shown again."), soft_wrap=True)


def moment_of(text: str) -> datetime:
    """Return the moment that a span from now (``30d``, ``12h``, ``90m``) or a date names.

    Raises:
        InvalidInput: it names none.
    """
    span = re.fullmatch(r"([0-9]{1,9})([dhm])", text)
    try:
        if span:
            return datetime.now(UTC) + timedelta(**{_SPANS[span[2]]: int(span[1])})
        return as_utc(datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        raise InvalidInput(f"--expires {text!r} is no moment; use a span (30d, 12h) or a date (2027-01-01).", expires=text) from None


@app.command("list")
def list_(
    limit: Limit = 50,
    cursor: Cursor = None,
    as_json: JSON = False,  # noqa: FBT002  a command-line flag
) -> None:
    """List tokens, the newest first; revoked and expired ones, too."""

    async def load() -> Page[Token]:
        refuse_bytes(cursor=cursor)
        async with get_async_session() as db:
            return await tokens.list_tokens(db, limit=limit, cursor=cursor)

    page = run(load, as_json=as_json)
    if as_json:
        print_json(page_json(map(TokenRead.model_validate, page), page.next_cursor))
        return
    if not page:
        console().print("No tokens yet: session-db tokens create makes one.")
        return
    console().print(_table(page))
    if page.next_cursor:
        console().print(Text(f"More: the same with --cursor {page.next_cursor}", style="dim"), soft_wrap=True)


def _table(page: Page[Token]) -> Table:
    """Return two lines for each token: what it is, and its whole id."""
    table = Table(box=None, padding=(0, 1), header_style="dim", expand=True)
    table.add_column("token", ratio=1, overflow="fold")
    for heading in ("scope", "used", "state"):
        table.add_column(heading, no_wrap=True)
    for token in page:
        label = Text.assemble((one_line(token.name), "bold"), (f"\n{token.id}", "dim"))
        table.add_row(label, token.scope, ago(token.last_used_at) if token.last_used_at else "-", _state(token))
    return table


def _state(token: Token) -> Text:
    if token.revoked_at is not None:
        return Text("revoked", style="dim")
    if token.expires_at is None:
        return Text("works", style="green")
    if token.expires_at <= datetime.now(UTC):
        return Text("expired", style="dim")
    return Text(f"until {token.expires_at:%Y-%m-%d}", style="green")


@app.command()
def revoke(
    token_id: Annotated[UUID, typer.Argument(metavar="ID", help="The token's id; session-db tokens list shows it.")],
    as_json: JSON = False,  # noqa: FBT002  a command-line flag
) -> None:
    """Revoke a token: from now on it does not work."""

    async def end() -> Token:
        async with get_async_session() as db:
            token = await tokens.revoke_token(db, token_id)
        if token is None:
            raise NotFound(f"there is no token {token_id}; session-db tokens list shows which there are.", token_id=token_id)
        HookTokens(get_settings()).forget(token_id)
        return token

    token = run(end, as_json=as_json)
    if as_json:
        print_json(model_json(TokenRead.model_validate(token)))
    else:
        console().print(f"Revoked {one_line(token.name)}.", markup=False)
