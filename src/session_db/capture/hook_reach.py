"""Where our hooks are, and whether they reach whom they tell."""

import os
from collections.abc import Iterator
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import Request, getproxies_environment, proxy_bypass

from session_db.capture.asking import ask, reason_of
from session_db.capture.hook_entries import ROUTE
from session_db.capture.hook_policy import MANAGED, obstacles
from session_db.capture.hook_settings import Installed, installed, read_settings
from session_db.errors import InvalidInput

_SERVICE_SECONDS = 5
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def settings_files(*, project: bool) -> list[Path]:
    """Return the settings files of a level, the one that we write first."""
    if project:
        # Not settings.json, which is committed: what is put there names files of this machine.
        return [Path.cwd() / ".claude" / name for name in ("settings.local.json", "settings.json")]
    return [Path(os.environ.get("CLAUDE_CONFIG_DIR") or "~/.claude").expanduser() / "settings.json"]


def installed_here() -> list[Installed]:
    """Return our hooks in each settings file that holds for a session in this folder, the weakest first."""
    paths = [*settings_files(project=False), *reversed(settings_files(project=True))]
    return [installed(path) for path in {os.path.realpath(path): path for path in reversed(paths)}.values()][::-1]


def problems_of(found: list[Installed]) -> Iterator[str]:
    """Say why events of a session in this folder may not be recorded, or twice, a sentence each."""
    with_hooks = [each for each in found if each.targets]
    if not with_hooks:
        return
    if len({each.targets for each in with_hooks}) > 1:
        yield f"{' and '.join(str(each.path) for each in with_hooks)} have different hooks of ours: events are recorded twice."
    urls = sorted({url for each in with_hooks for url in each.urls})
    try:
        yield from obstacles([(path, read_settings(path)) for path in (*(each.path for each in found), MANAGED)], urls)
    except InvalidInput as error:
        # Those with our hooks could be read; the administrator's is not ours to correct.
        yield error.message
    if urls and not os.environ.get("SESSION_DB_TOKEN"):
        yield (
            "SESSION_DB_TOKEN is not set here. Claude Code sends its events with that variable of its own environment; "
            "`session-db tokens create --name hooks --scope hooks` makes a token."
        )
    proxies = getproxies_environment()
    for url in urls:
        parts = urlsplit(url)
        if parts.scheme in proxies and not proxy_bypass(parts.hostname or ""):
            proxy = _without_password(proxies[parts.scheme])
            yield f"Events for {parts.hostname} would go through the proxy {proxy}; name {parts.hostname} in NO_PROXY."


def _without_password(proxy: str) -> str:
    scheme, separator, rest = proxy.rpartition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"


def _may_have_the_token(url: str) -> bool:
    """Say whether a hook's URL is of this machine, or the user's own choice: a folder's settings may be anybody's."""
    return urlsplit(url).hostname in _LOOPBACK or any(url in installed(path).urls for path in settings_files(project=False))


def service_at(url: str) -> str:
    return url.removesuffix(ROUTE)


def why_not(url: str) -> str | None:
    """Return why the service at the URL of a hook takes no events; None where it does, as far as it may be asked."""
    token = os.environ.get("SESSION_DB_TOKEN") if _may_have_the_token(url) else None
    requests = [Request(f"{service_at(url)}/health")]  # noqa: S310  http, as it was installed
    if token:
        # What comes from a recorder is acknowledged and not kept.
        headers = {"Authorization": f"Bearer {token}", "Session-DB-Recorder": "status"}
        requests.append(Request(url, data=b'{"session_id": "status", "hook_event_name": "status"}', headers=headers))  # noqa: S310  http, as it was installed
    try:
        for request in requests:
            ask(request, _SERVICE_SECONDS).close()
    except HTTPError as error:
        return f"refuses: {reason_of(error)}"
    except (OSError, ValueError, HTTPException) as error:
        return f"does not answer: {getattr(error, 'reason', error)}"
    return None
