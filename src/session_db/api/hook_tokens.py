"""Tokens that may send events, known while the database is away: what an agent does then is taken, too."""

import asyncio
import json
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from session_db.crud.tokens import is_text_of, token_id_of
from session_db.database.violations import DRIVER_ERRORS
from session_db.errors import Unavailable
from session_db.models import Token
from session_db.models.table import now
from session_db.settings import Settings

KNOWN_FOR = timedelta(days=7)
"""How long after it last worked a token is known without the database."""

_NOTED_AGAIN = timedelta(hours=1)

_ANSWER_SECONDS = 0.5
"""How long the database may take to tell of a token that is known: the agent waits for two seconds at most."""

_AWAY_SECONDS = 5.0
"""For how long it is not asked again once it did not answer."""


class HookTokens:
    """What was last known of tokens, a file each below the service's home, so that a service that is started anew knows it, too.

    A file has the hash of the secret, as the database has it.
    """

    def __init__(self, settings: Settings) -> None:
        self._directory = settings.home / "hook-tokens"
        self._away_until = 0.0
        self._given_up: set[asyncio.Task[Token | None]] = set()

    async def valid(self, text: str, look_up: Callable[[str], Coroutine[Any, Any, Token | None]]) -> Token | None:
        """Return the token with this text as the database knows it, or as it was known where that does not answer.

        Raises:
            Unavailable: the database is away, and nothing is known of the token.
        """
        known = self._find(text)
        if known is None:
            token = await look_up(text)
        elif time.monotonic() < self._away_until:
            return known
        else:
            try:
                token = await self._soon(look_up(text))
            except (Unavailable, *DRIVER_ERRORS):
                self._away_until = time.monotonic() + _AWAY_SECONDS
                return known
        if token is not None:
            self._note(token)
        elif known is not None:
            self.forget(known.id)
        return token

    async def _soon(self, answer: Coroutine[Any, Any, Token | None]) -> Token | None:
        """Wait for the database, and no longer than an agent can.

        Raises:
            TimeoutError: it takes longer.
        """
        asking = asyncio.create_task(answer)
        await asyncio.wait({asking}, timeout=_ANSWER_SECONDS)
        if asking.done():
            return await asking
        # Not waited for: to give up a connection that hangs takes seconds.
        asking.cancel()
        self._given_up.add(asking)
        asking.add_done_callback(self._let_go)
        raise TimeoutError

    def _let_go(self, asking: asyncio.Task[Token | None]) -> None:
        self._given_up.discard(asking)
        if not asking.cancelled():
            asking.exception()

    def has_any(self) -> bool:
        """Say whether there is any that was known."""
        return any(self._directory.glob("*"))

    def forget(self, token_id: UUID) -> None:
        """Forget a token: it was revoked."""
        with suppress(OSError):
            self._path(token_id).unlink()

    def _path(self, token_id: UUID) -> Path:
        return self._directory / token_id.hex

    def _find(self, text: str) -> Token | None:
        token_id = token_id_of(text)
        if token_id is None:
            return None
        path = self._path(token_id)
        try:
            if not _is_younger(path, KNOWN_FOR):
                return None
            told = json.loads(path.read_text(encoding="utf-8"))
            ends = told["expires_at"] and datetime.fromisoformat(told["expires_at"])
            token = Token(id=token_id, name=told["name"], scope=told["scope"], hash=bytes.fromhex(told["hash"]), expires_at=ends)
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return token if is_text_of(token, text) else None

    def _note(self, token: Token) -> None:
        """Remember that a token works, and forget those that did not for long. Where it cannot be written, nothing is known later."""
        path = self._path(token.id)
        with suppress(OSError):
            if _is_younger(path, _NOTED_AGAIN):
                return
        ends = token.expires_at and token.expires_at.isoformat()
        told = {"name": token.name, "scope": token.scope, "hash": token.hash.hex(), "expires_at": ends}
        with suppress(OSError):
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.touch(mode=0o600)
            path.write_text(json.dumps(told), encoding="utf-8")
            for other in self._directory.iterdir():
                if not _is_younger(other, KNOWN_FOR):
                    other.unlink()


def _is_younger(path: Path, span: timedelta) -> bool:
    return now() - datetime.fromtimestamp(path.stat().st_mtime, UTC) < span
