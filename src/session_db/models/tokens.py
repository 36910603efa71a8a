"""Tokens: who may use the service."""

from datetime import datetime
from typing import Literal, get_args
from uuid import UUID

from sqlalchemy import CheckConstraint, LargeBinary
from sqlmodel import Field

from session_db.ids import new_id
from session_db.models.table import Input, Model, moment, optional_moment
from session_db.models.values import Moment, described_by, examples

Scope = Literal["read", "write", "hooks", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
"""read: see everything; write: read, and change it; hooks: send events, see nothing; admin: write, and make tokens."""
TokenKind = Literal["api", "login", "browser"]
"""api: a program's; login: a link that works once; browser: the cookie that the link gives."""


class TokenBase(Model):
    """What is shown of a token; never its secret."""

    name: str = Field(min_length=1, max_length=100, description="What it is for.")
    scope: str = Field(max_length=20, description="read, write, hooks or admin.")
    expires_at: datetime | None = optional_moment("When it ends to work; null: never.")


class Token(TokenBase, table=True):
    """One token. Of its secret only the hash is kept."""

    __tablename__ = "tokens"
    __table_args__ = (
        CheckConstraint("scope IN ('read', 'write', 'hooks', 'admin')", name="scope"),
        CheckConstraint("kind IN ('api', 'login', 'browser')", name="kind"),
        {"comment": "Tokens of the service."},
    )

    id: UUID = Field(default_factory=new_id, primary_key=True, description="Its first half; the secret is the second.")
    kind: str = Field(default="api", max_length=20, description="api, login or browser.")
    hash: bytes = Field(sa_type=LargeBinary, description="SHA-256 of the secret.")
    created_at: datetime = moment("When it was made.")
    last_used_at: datetime | None = optional_moment("When it was last used, to the minute.")
    revoked_at: datetime | None = optional_moment("When it was revoked.")


@described_by(Token)
class TokenCreate(Input):
    """A token to make."""

    model_config = examples({"name": "nightly report", "scope": "read", "expires_at": "2099-01-01T00:00:00Z"})

    name: str = Field(min_length=1, max_length=100)
    scope: Scope = "write"
    expires_at: Moment | None = None


class TokenRead(TokenBase):
    """A token as it is shown."""

    id: UUID
    kind: str
    created_at: datetime
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None
