"""The checks of ``doctor`` that look at this machine: settings, files that hold secrets, disks, and what captures."""

import asyncio
import difflib
import shutil
import stat
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from dotenv import dotenv_values

from session_db.capture.hook import KEPT
from session_db.capture.hook_reach import installed_here, problems_of, service_at, why_not
from session_db.capture.spool import spool_of
from session_db.doctor.checks import FIX, Check, some_of
from session_db.models.table import now
from session_db.settings import files_of, get_settings, setting_names, token_file, unknown_names

_LONG = timedelta(hours=1)
"""How long captured events may wait."""

_FREE_BYTES = 1024**3

_SECRETS = ("SESSION_DB_URL", "SESSION_DB_LISTEN_URL", "SESSION_DB_TOKEN", "TOOLER_DB_URL")
"""Settings that others of this machine should not read."""

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


async def look_at_settings() -> Check:
    """Say which variables look like settings and are none: what is misspelled has no effect, and nobody is told."""
    names = [*setting_names(), *KEPT]
    unknown = unknown_names(get_settings(), *KEPT)
    if not unknown:
        return Check("settings", "ok", "each SESSION_DB_* variable is a setting")
    found = [f"{source} {name}{_nearest(name, names)}" for name, source in unknown]
    return Check("settings", "warning", f"no settings: {some_of(found)}", "Correct the names, or take them out.")


def _nearest(name: str, names: list[str]) -> str:
    near = difflib.get_close_matches(name.upper(), names, n=1)
    return f" (is it {near[0]}?)" if near else ""


async def look_at_secrets() -> Check:
    """Say which files that hold a password or a token others of this machine can read."""
    open_to_others = [path for path in _files_with_secrets() if _is_open(path)]
    if not open_to_others:
        return Check("secrets", "ok", "no file with a token or a password is open to others")
    found = f"others can read {some_of([str(path) for path in open_to_others])}"
    by_hand = [f"chmod 600 {path}" for path in open_to_others if path != token_file(get_settings())]
    remedies = [FIX] if len(by_hand) < len(open_to_others) else []
    remedies += [f"Run {some_of(by_hand)}."] if by_hand else []
    return Check("secrets", "warning", found, " ".join(remedies))


def _files_with_secrets() -> Iterator[Path]:
    settings = get_settings()
    if token_file(settings).is_file():
        yield token_file(settings)
    for path in files_of(settings):
        values = dotenv_values(path)
        if any(values.get(name) for name in _SECRETS):
            yield path


def _is_open(path: Path) -> bool:
    # There the mode says nothing of who may read a file.
    return sys.platform != "win32" and bool(path.stat().st_mode & _OTHERS)


async def fix_secrets() -> str | None:
    """Close the token file to others. Who reads a file of settings, somebody may have meant."""
    path = token_file(get_settings())
    if not path.is_file() or not _is_open(path):
        return None
    path.chmod(0o600)
    return f"{path} is closed to others; if one read it, revoke the token with session-db tokens revoke"


async def look_at_disk() -> Check:
    """Say how much room there is where our files are; that of a server of its own is not seen from here."""
    settings = get_settings()
    places = {_existing(settings.home)} | ({_existing(settings.home / "data")} if settings.url is None else set())
    # Two directories of one disk have the same room.
    free = {place.stat().st_dev: (place, shutil.disk_usage(place).free) for place in sorted(places, reverse=True)}
    found = ", ".join(f"{bytes_free / 1024**3:.1f} GiB free at {place}" for place, bytes_free in free.values())
    has_room = all(bytes_free >= _FREE_BYTES for _, bytes_free in free.values())
    return Check("disk", "ok", found) if has_room else Check("disk", "warning", found, "Free some space.")


def _existing(path: Path) -> Path:
    return next(place for place in (path, *path.parents) if place.exists())


async def look_at_spool() -> Check:
    """Say what waits to be written, since when, and what was set aside."""
    spool = spool_of(get_settings())
    state = spool.state()
    found = f"{state.waiting} captured events wait, {state.bad} were set aside"
    is_late = state.oldest is not None and now() - state.oldest > _LONG
    if is_late:
        found += f", the first since {state.oldest:%Y-%m-%d %H:%M} UTC"
    if not is_late and not state.bad:
        return Check("spool", "ok", found)
    remedies = ["Run session-db drain."] if is_late else []
    remedies += [f"Each that was set aside has its reason beside it, in {spool.directory}/bad."] if state.bad else []
    return Check("spool", "warning", found, " ".join(remedies))


async def fix_spool() -> str | None:
    """Write what waits, and read the transcripts that it names."""
    # What it needs takes time to import, and mostly nothing waits.
    from session_db.capture.drain import drain  # noqa: PLC0415

    report = await drain(get_settings())
    done = f"{report.events} events were written, {report.known} were known, {report.bad} set aside"
    return done if report.events or report.known or report.bad else None


async def look_at_hooks() -> Check:
    """Say whether our hooks are where a session in this folder finds them, and whether they reach whom they tell."""
    found = installed_here()
    told = [f"{len(each.events)} hooks ({each.transport}) in {each.path}" for each in found if each.events]
    if not told:
        return Check("hooks", "ok", "none: session-db hooks install puts them in")
    urls = {url for each in found for url in each.urls}
    away = [f"{service_at(url)} {reason}" for url in sorted(urls) if (reason := await asyncio.to_thread(why_not, url)) is not None]
    if away:
        return Check("hooks", "failed", "; ".join([*told, *away]), "Start the service there: until then what hooks tell is lost.")
    problems = list(problems_of(found))
    if problems:
        return Check("hooks", "warning", "; ".join(told), " ".join(problems))
    return Check("hooks", "ok", "; ".join(told))
