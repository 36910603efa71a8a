"""A way for programs that know no TLS to a server that wants it."""

import asyncio
import shutil
import struct
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from ssl import SSLContext

_SSL_REQUEST = struct.pack("!ii", 8, 80877103)
_ACCEPTED = b"S"
_MESSAGE = struct.Struct("!ci")
_WITH_CHANNEL_BINDING = b"SCRAM-SHA-256-PLUS\0"
_PIECE = 1 << 16


@asynccontextmanager
async def tls_tunnel(host: str, port: int, context: SSLContext) -> AsyncIterator[Path]:
    """Give a directory with a socket, which only this user can reach; what goes in there goes on encrypted to that server."""
    directory = Path(tempfile.mkdtemp(prefix="session-db-"))
    carried: set[asyncio.Task[None]] = set()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(_carry(reader, writer, host, port, context))
        carried.add(task)

    try:
        server = await asyncio.start_unix_server(accept, directory / ".s.PGSQL.5432")
        try:
            yield directory
        finally:
            server.close()
            for task in carried:
                task.cancel()
            await asyncio.gather(*carried, return_exceptions=True)
    finally:
        shutil.rmtree(directory)


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int, context: SSLContext) -> None:
    try:
        from_server, to_server = await asyncio.open_connection(host, port)
        try:
            to_server.write(_SSL_REQUEST)
            if await from_server.readexactly(1) == _ACCEPTED:
                await to_server.start_tls(context, server_hostname=host)
                await asyncio.gather(_pass_on(reader, to_server), _answer(from_server, writer))
        finally:
            await _close(to_server)
    finally:
        await _close(writer)


async def _answer(from_server: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on what the server says, but for one word: a client without TLS refuses a server that offers what needs TLS."""
    kind, length = _MESSAGE.unpack(await from_server.readexactly(_MESSAGE.size))
    body = await from_server.readexactly(length - 4)
    if kind == b"R":
        body = body.replace(_WITH_CHANNEL_BINDING, b"")
    writer.write(_MESSAGE.pack(kind, len(body) + 4) + body)
    await _pass_on(from_server, writer)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(_PIECE):
        writer.write(piece)
        await writer.drain()
    # The other direction ends, too: in PostgreSQL's protocol nobody speaks on after the other one has left.
    await _close(writer)


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
