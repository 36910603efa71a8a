"""Reading a file again from its start: each entry that its stream has stands for one of its lines."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from session_db.capture.record import Entry, uuid_of
from session_db.capture.redaction import stored_text
from session_db.crud.transcripts import known_uuids, stream_entries
from session_db.models import Transcript
from session_db.models.table import decode_json


class Reread:
    """One reading of a file, as ``reread`` began it.

    Attributes:
        found: lines that the stream had.
    """

    def __init__(self, transcript: Transcript, without_uuid: Counter[str]) -> None:
        self.found = 0
        self._transcript = transcript
        self._without_uuid = without_uuid
        self._seen: set[str] = set()

    async def lacking(self, db: AsyncSession, lines: Sequence[Entry]) -> list[Entry]:
        """Return those of the next lines of the file that the stream has not."""
        known = await known_uuids(db, self._transcript, [uuid for _, entry in lines if (uuid := uuid_of(entry)) is not None])
        lacking = []
        for text, entry in lines:
            uuid = uuid_of(entry)
            # A uuid that comes again stands in the stream without it.
            is_found = uuid in known if uuid is not None and uuid not in self._seen else self._take(text)
            self._seen |= {uuid} if uuid is not None else set()
            self.found += is_found
            if not is_found:
                lacking.append((text, entry))
        return lacking

    def _take(self, text: str) -> bool:
        key = _digest(stored_text(text))
        is_found = self._without_uuid[key] > 0
        self._without_uuid[key] -= is_found
        return is_found


async def reread(db: AsyncSession, transcript: Transcript) -> Reread:
    """Begin to read the file of a stream again. Costs a walk over the entries that have no uuid."""
    texts = stream_entries(db, transcript.session_id, transcript.id, only_without_uuid=True)
    return Reread(transcript, Counter([_digest(text) async for text in texts]))


def _digest(text: str) -> str:
    """Return the digest of an entry, however its sender spaced it: the client and the SDK write the same one differently."""
    return hashlib.sha256(json.dumps(decode_json(text), sort_keys=True).encode()).hexdigest()
