"""Files of ``pg_dump``, of which ``pg_restore`` reads the rows of our tables."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from session_db.database.programs import find_program, program_output
from session_db.database.schema import VERSION_TABLE, head, known_revisions
from session_db.errors import Conflict, InvalidInput

_COPY = re.compile(rb'COPY ("(?:[^"]|"")+"|\w+)\.("(?:[^"]|"")+"|\w+) \((.*)\) FROM stdin;\n')
_SETVAL = re.compile(rb"SELECT pg_catalog\.setval\('.*\.(\w+)', (\d+), (true|false)\);\n")
_END = b"\\.\n"


@dataclass(frozen=True)
class Rows:
    """The rows of one table, in PostgreSQL's text format; to be read before the next ones are asked for."""

    schema: str
    table: str
    columns: list[str]
    pieces: Callable[[], AsyncIterator[bytes]]


@dataclass(frozen=True)
class Archive:
    """A file that has tables of ours."""

    path: Path
    schema: str
    revision: str

    @asynccontextmanager
    async def read(self, names: list[str]) -> AsyncIterator["Script"]:
        """Give what is in the tables and sequences with these names, in an order of its own."""
        async with _script(self.path, [f"--schema={self.schema}", *(f"--table={name}" for name in names)]) as script:
            yield script


async def open_archive(path: Path, *, schema: str | None = None) -> Archive:
    """Look into a file of pg_dump for our tables; where several schemas have such, ``schema`` says which are meant.

    Raises:
        InvalidInput: it is no such file, it is cut, or none of our tables are in it.
        Conflict: they are of a newer session-db.
    """
    _refuse_missing(path)
    found: dict[str, str] = {}
    async with _script(path, [f"--table={VERSION_TABLE}"]) as script:
        async for rows in script.tables():
            found[rows.schema] = b"".join([piece async for piece in rows.pieces()]).decode().strip()
    if len(found) > 1 and schema in found:
        found = {schema: found[schema]}
    if len(found) != 1:
        problem = f"has those of {', '.join(sorted(found))}: set SESSION_DB_SCHEMA to one of them" if found else "has none"
        raise InvalidInput(f"{path} is no backup of the tables of one session-db: it {problem}.", path=str(path))
    ((schema, revision),) = found.items()
    if revision not in known_revisions():
        raise Conflict(
            f"{path} has tables of revision {revision}, which this session-db does not know (its newest is {head()}): upgrade session-db.",
            revision=revision,
        )
    return Archive(path, schema, revision)


def _refuse_missing(path: Path) -> None:
    if not path.is_file():
        raise InvalidInput(f"there is no file {path}; name one that session-db backup made.", path=str(path))


class Script:
    """What pg_restore prints: the rows of tables, and statements, of which none but the values of sequences are taken."""

    def __init__(self, output: AsyncIterator[bytes]) -> None:
        self._output = output
        self._read = b""
        self.sequences: dict[str, tuple[int, bool]] = {}
        """By the name of a sequence: its value, and whether that was given out; known when all tables were read."""

    async def tables(self) -> AsyncIterator[Rows]:
        while line := await self._line():
            if found := _COPY.fullmatch(line):
                schema, table, columns = (part.decode() for part in found.groups())
                yield Rows(_unquoted(schema), _unquoted(table), [_unquoted(column) for column in columns.split(", ")], self._pieces)
            elif found := _SETVAL.fullmatch(line):
                self.sequences[found[1].decode()] = (int(found[2]), found[3] == b"true")

    async def _line(self) -> bytes:
        while b"\n" not in self._read and await self._more():
            pass
        line, end, self._read = self._read.partition(b"\n")
        return line + end

    async def _more(self) -> bool:
        piece = await anext(self._output, b"")
        self._read += piece
        return bool(piece)

    async def _pieces(self) -> AsyncIterator[bytes]:
        """Give the rows, up to the line that ends them. A large row comes in several pieces."""
        at_line_start = True
        while not (at_line_start and self._read.startswith(_END)):
            end = self._read.find(b"\n" + _END) + 1
            # What is kept back may be the beginning of that line.
            piece = self._read[: end or -len(_END)]
            if piece:
                yield piece
                self._read = self._read[len(piece) :]
                at_line_start = piece.endswith(b"\n")
            elif not await self._more():
                raise InvalidInput("the backup ends within the rows of a table; it is not whole.")
        self._read = self._read[len(_END) :]


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


@asynccontextmanager
async def _script(path: Path, options: list[str]) -> AsyncIterator[Script]:
    command = [
        await asyncio.to_thread(find_program, "pg_restore"),
        "--format=custom",
        "--data-only",
        "--file=-",
        *options,
        f"./{path}" if str(path).startswith("-") else path,
    ]
    async with program_output(
        command, lambda reason: InvalidInput(f"{path} cannot be read as a backup: {reason}", path=str(path))
    ) as pieces:
        yield Script(pieces)
