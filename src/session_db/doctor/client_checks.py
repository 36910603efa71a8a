"""The check of ``doctor`` that looks at the client's own files: it deletes them after some days."""

from session_db.capture.expiring import SOON, kept_days, list_expiring
from session_db.capture.reading import directories_of
from session_db.database import get_async_session
from session_db.doctor.checks import Check, some_of
from session_db.models.table import now
from session_db.settings import get_settings


async def look_at_client_files() -> Check:
    """Say how long the client keeps its transcripts, and which go next without having been recorded."""
    settings = get_settings()
    kept = ", ".join(f"{directory}: {kept_days(directory)} days" for directory in directories_of(settings) if directory.is_dir())
    async with get_async_session() as db:
        expiring = await list_expiring(db, settings)
    if not expiring:
        return Check(
            "client files", "ok", f"how long the client keeps its transcripts: {kept}" if kept else "no transcripts of a client here"
        )
    named = some_of([f"{each.path} ({_when((each.deleted_at - now()).days)})" for each in expiring])
    found = f"{kept}; {len(expiring):,} transcripts go within {SOON.days} days and were not recorded to their end: {named}"
    return Check(
        "client files", "warning", found, "Run session-db import, or set a larger cleanupPeriodDays in the client's settings.json."
    )


def _when(days: int) -> str:
    return "at its next start" if days < 0 else f"in {days} {'day' if days == 1 else 'days'}"
