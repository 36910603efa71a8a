"""Search: which words are indexed of sessions, messages and events, and what a search finds."""

from datetime import datetime
from functools import reduce
from typing import Literal
from uuid import UUID

from sqlalchemy import Index, text
from sqlmodel import Field, SQLModel

HitType = Literal["session", "message", "event"]

WORDS_LIMIT = 100_000
"""Characters of a text that are indexed: a tsvector holds 1 MB at most, and a text in which every letter is a word needs the most."""

OUTPUT_LIMIT = 4_096
"""Characters of a tool's output that are indexed."""

ENDS_OF_WORDS = "./-@<&+"
"""Characters at which words end. PostgreSQL's own parser takes ``src/app.py``, ``self.close`` and ``<b>`` for one word, or for none."""


def words_of(table: str, column: str) -> str:
    """Return the SQL of the words of a table's text, as its index has them; ``table`` is a prefix, with its dot, or nothing."""
    words = _TEXTS[column].format(table)
    for character in ENDS_OF_WORDS:
        words = f"replace({words}, '{character}', ' ')"
    return f"to_tsvector('simple', {words})"


_NAMED = reduce(
    # With the brackets that PostgreSQL itself would write: the check of migrations compares the text.
    "({} || {})".format,
    [
        "coalesce({0}metadata ->> 'name', '')",
        "' '",
        "coalesce({0}title, '')",
        "' '",
        "coalesce({0}session_slug, '')",
        "' '",
        "coalesce({0}description, '')",
    ],
)
_TEXTS = {
    "session": f"left({_NAMED[1:-1]}, {WORDS_LIMIT})",
    "message": f"left({{0}}message_data ->> 'content', {WORDS_LIMIT})",
    "content": "{0}content",
    "tool_output": f"left({{0}}tool_output, {OUTPUT_LIMIT})",
}
"""By what is searched: the SQL of its text."""


def words_index(name: str, column: str) -> Index:
    """Return the index of a text's words. It is of all rows: PostgreSQL makes no use of what it knows of the words in an index of some."""
    return Index(name, text(words_of("", column)), postgresql_using="gin")


class SnippetPart(SQLModel):
    """A piece of a snippet."""

    text: str
    matches: bool = Field(description="Whether it is what was searched.")


class SearchHit(SQLModel):
    """What a search found, and where it stands."""

    type: HitType = Field(description="session: its name, title, slug or description; message; event.")
    session_id: UUID
    session_type: str
    display_name: str = Field(description="Name of the session: what it was given, else title, slug, or agent and date.")
    working_dir: str | None = None
    current_project: str | None = None
    message_index: int | None = Field(default=None, description="Place of a message in its session.")
    event_index: int | None = Field(default=None, description="Place of an event in its session.")
    timestamp: datetime = Field(description="When it was said or happened; of a session when it was last active.")
    role: str | None = Field(default=None, description="Who said a message.")
    agent_id: UUID | None = Field(default=None, description="Agent of an event.")
    event_type: str | None = None
    tool_name: str | None = None
    tool_use_id: str | None = Field(default=None, description="Call of a tool: however many events carry it, it is found once.")
    snippet: list[SnippetPart] = Field(description="The text around the first match, on one line: plain text in parts.")
