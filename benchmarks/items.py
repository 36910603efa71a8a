"""What belongs to no session, in PostgreSQL's text format for COPY: clips with their versions, songs, playlists, and tokens."""

from collections.abc import Iterator

from benchmarks.rows import FIRST_DAY, timestamp, uuid7
from benchmarks.shapes import row

CODE = 's("bd*4, hh*8").bank("tr909").gain(0.8)'

MEMBERS = 8
"""Clips of a song, and songs of a playlist."""

TOKENS = 2_000

_ITEM = ("project_id", "name", "version", "created_at", "updated_at")


def item_rows(sessions: int) -> Iterator[tuple[str, tuple[str, ...], Iterator[str]]]:
    """Give table, columns and rows: a clip to a hundred sessions, a song to two clips, a playlist to four, and some tokens."""
    clips = max(2_000, sessions // 100)
    yield "clips", ("clip_id", "code", *_ITEM), (row(_key("clip", number), CODE, *_item(number, 3)) for number in range(clips))
    yield "clip_versions", ("clip_id", "version", "code", "created_at"), _versions(clips)
    yield "songs", ("song_id", "clip_ids", *_ITEM), _lists("song", clips // 2, "clip", clips)
    yield "playlists", ("playlist_id", "song_ids", *_ITEM), _lists("playlist", clips // 4, "song", clips // 2)
    yield "tokens", ("id", "name", "scope", "kind", "hash", "created_at"), map(_token, range(TOKENS))


def _key(kind: str, number: int) -> str:
    return f"{kind}-{number:08d}"


def _item(number: int, version: int) -> tuple[str | int, ...]:
    made = timestamp(FIRST_DAY + number)
    return f"project-{number % 100:04d}", f"Item {number}", version, made, made


def _versions(clips: int) -> Iterator[str]:
    for number in range(clips):
        for version in (1, 2):
            yield row(_key("clip", number), version, CODE, timestamp(FIRST_DAY + version))


def _lists(kind: str, count: int, member: str, members: int) -> Iterator[str]:
    for number in range(count):
        ids = ", ".join(f'"{_key(member, (number * MEMBERS + place) % members)}"' for place in range(MEMBERS))
        yield row(_key(kind, number), f"[{ids}]", *_item(number, 1))


def _token(number: int) -> str:
    """Return a token; every tenth is of a login."""
    kind, made = ("login", "api", "browser")[min(number % 10, 2)], FIRST_DAY + number
    # A hash that no text has.
    return row(uuid7(made, number), f"Token {number}", "write", kind, rf"\\x{number:064x}", timestamp(made))
