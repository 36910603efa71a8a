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

ENDS_OF_WORDS = (
    r"[-./@<&+~"
    # Punctuation, signs and spaces of Latin and of all languages.
    r"\u0080-\u00A9\u00AB-\u00B4\u00B6-\u00B9\u00BB-\u00BF\u00D7\u00F7\u060C\u061B\u061F\u06D4\u0964\u0965\u2000-\u206F\u20A0-\u20FF"
    # Arrows, mathematics, boxes, dingbats, and punctuation of East Asia.
    r"\u2190-\u2BFF\u2E00-\u2E7F\u3000-\u3004\u3008-\u3020\u3030"
    # Glyphs of terminals, variants of signs, full-width signs, and emoji.
    r"\uE000-\uF8FF\uFE00-\uFE1F\uFE30-\uFE6F\uFEFF-\uFF0F\uFF1A-\uFF20\uFF3B-\uFF40\uFF5B-\uFF65\uFFE0-\uFFFD\U0001F000-\U0001FBFF]"
)
"""Characters at which words end, as a regular expression of PostgreSQL and of Python.

PostgreSQL's own parser takes ``src/app.py``, ``self.close`` and ``<b>`` for one word, or for none; and where the locale is C, as in the
embedded database, it takes all that is no ASCII for letters. They are named by number, so that no locale, and no upgrade of one,
changes an index.
"""


def words_of(table: str, column: str) -> str:
    """Return the SQL of the words of a table's text, as its index has them; ``table`` is a prefix, with its dot, or nothing."""
    return f"to_tsvector('simple', regexp_replace({_TEXTS[column].format(table)}, '{ENDS_OF_WORDS}', ' ', 'g'))"


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
