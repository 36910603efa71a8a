"""Settings: one frozen value, read from the environment and ``.env`` files.

Every field is read from ``SESSION_DB_<NAME>``; some also have a name of the second seed (``TOOLER_DB_URL``, ``DB_POOL_SIZE`` …). The
environment beats a file, ``SESSION_DB_*`` beats the other names. A program that imports the package reads the ``.env`` of its working
directory; the ``session-db`` command does not, it may be run in a stranger's folder.
"""

import os
import re
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

from dotenv import dotenv_values
from platformdirs import user_data_path
from pydantic import AliasChoices, Field, PrivateAttr, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, DotEnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from session_db.errors import InvalidInput


def default_home() -> Path:
    """Return where the embedded PostgreSQL and its files live unless ``SESSION_DB_HOME`` says otherwise."""
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        return Path("/var/lib/session-db")
    return user_data_path("session-db", appauthor=False)


_PREFIX = "SESSION_DB_"
_SPAN = r"([1-9][0-9]{0,4}) ?(s|min|h|d|w)"
_UNITS = {"s": "seconds", "min": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_SPAN_OR_NEVER = f"^(never|{_SPAN})$"


def span_of(text: str) -> timedelta | None:
    """Return how long ``30min``, ``12h``, ``7d`` or ``2w`` is, or None for any other text, as for ``never``."""
    span = re.fullmatch(_SPAN, text)
    return None if span is None else timedelta(**{_UNITS[span[2]]: int(span[1])})


class Settings(BaseSettings):
    """Where the database is and how to talk to it."""

    # Fields are read by their names too, and a bare HOME or ECHO in the environment means something else: hence the prefix.
    model_config = SettingsConfigDict(frozen=True, extra="ignore", env_ignore_empty=True, env_prefix=_PREFIX, validate_by_name=True)

    url: SecretStr | None = Field(
        None,
        validation_alias=AliasChoices("SESSION_DB_URL", "TOOLER_DB_URL"),
        description="PostgreSQL to use (`postgresql://user:password@host/database`); unset: the embedded one.",
    )
    home: Path = Field(
        default_factory=default_home,
        validation_alias="SESSION_DB_HOME",
        description="Directory of the embedded PostgreSQL and of files of ours.",
    )
    schema_name: str | None = Field(
        None,
        validation_alias="SESSION_DB_SCHEMA",
        pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$",
        description="Schema that holds all tables; unset: the connection's own.",
    )
    pooler: Literal["transaction"] | None = Field(
        None,
        validation_alias="SESSION_DB_POOLER",
        description="`transaction`: between us and PostgreSQL stands a pooler (PgBouncer) that hands out a connection for a transaction.",
    )
    listen_url: SecretStr | None = Field(
        None,
        validation_alias="SESSION_DB_LISTEN_URL",
        description="The same database without the pooler between, to hear notifications; unset: `url`.",
    )
    pool_size: int = Field(
        10, ge=1, validation_alias=AliasChoices("SESSION_DB_POOL_SIZE", "DB_POOL_SIZE"), description="Connections kept open per process."
    )
    max_overflow: int = Field(
        20,
        ge=0,
        validation_alias=AliasChoices("SESSION_DB_MAX_OVERFLOW", "DB_MAX_OVERFLOW"),
        description="Connections beyond `pool_size` when busy.",
    )
    pool_recycle: int = Field(
        3600,
        ge=-1,
        validation_alias=AliasChoices("SESSION_DB_POOL_RECYCLE", "DB_POOL_RECYCLE"),
        description="Seconds after which a connection is replaced.",
    )
    command_timeout: float = Field(
        30, gt=0, validation_alias="SESSION_DB_COMMAND_TIMEOUT", description="Seconds after which a statement is given up."
    )
    statement_cache_size: int = Field(
        512,
        ge=0,
        validation_alias="SESSION_DB_STATEMENT_CACHE_SIZE",
        description="Prepared statements kept per connection; 0 switches them off, as `pooler` does.",
    )
    echo: bool = Field(default=False, validation_alias=AliasChoices("SESSION_DB_ECHO", "DB_ECHO"), description="Log every SQL statement.")

    claude_dirs: str = Field(
        "~/.claude",
        validation_alias="SESSION_DB_CLAUDE_DIRS",
        description="Directories of Claude Code whose transcripts are read after its hooks; several as in PATH.",
    )
    redact: bool = Field(
        default=True,
        validation_alias="SESSION_DB_REDACT",
        description="Mask secrets in the events, messages and titles of what is captured.",
    )
    redact_transcripts: bool = Field(
        default=False,
        validation_alias="SESSION_DB_REDACT_TRANSCRIPTS",
        description="Mask them in transcripts, too; one with a secret in it cannot be resumed any more.",
    )
    idle_after: str = Field(
        "30min",
        pattern=_SPAN_OR_NEVER,
        validation_alias="SESSION_DB_IDLE_AFTER",
        description="How long nothing happens in a chat until it is idle: 30min, 12h, 7d or never.",
    )
    terminate_after: str = Field(
        "never",
        pattern=_SPAN_OR_NEVER,
        validation_alias="SESSION_DB_TERMINATE_AFTER",
        description="How long nothing happens in a chat until it is terminated.",
    )
    lost_after: str = Field(
        "1d",
        pattern=_SPAN_OR_NEVER,
        validation_alias="SESSION_DB_LOST_AFTER",
        description="How long nothing is heard of a working agent until it has failed.",
    )
    workspace_roots: str = Field(
        "",
        validation_alias="SESSION_DB_WORKSPACE_ROOTS",
        description="Directories below which the service reads and writes folders of sessions; several as in PATH, none unless set.",
    )
    allowed_hosts: str = Field(
        "localhost",
        validation_alias="SESSION_DB_ALLOWED_HOSTS",
        description="Names, separated by commas, under which the service is asked for; addresses are always allowed, `*` allows all.",
    )
    max_body_bytes: int = Field(
        32 * 1024 * 1024, ge=1024, validation_alias="SESSION_DB_MAX_BODY_BYTES", description="Bytes that a request to the service may have."
    )
    open_probes: bool = Field(
        default=False, validation_alias="SESSION_DB_OPEN_PROBES", description="Answer `/ready` and `/metrics` without a token."
    )
    token: SecretStr | None = Field(
        None, validation_alias="SESSION_DB_TOKEN", description="Token that commands send to the service; unset: the one in `home`/token."
    )

    _files: tuple[Path, ...] = PrivateAttr(())

    @field_validator("workspace_roots")
    @classmethod
    def _refuse_unknown_home(cls, value: str) -> str:
        try:
            [Path(name).expanduser() for name in value.split(os.pathsep)]
        except RuntimeError:
            raise ValueError(f"{value}: there is no such user; give the whole path") from None
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003  pydantic-settings names the arguments
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Make each file a source: a stronger file wins whichever of its names a setting has there."""
        files = getattr(dotenv_settings, "env_file", None) or []
        return init_settings, env_settings, *(DotEnvSettingsSource(settings_cls, env_file=file) for file in reversed(files))


def load_settings(*, env_file: Path | None = None, working_directory: bool = False) -> Settings:
    """Read the settings.

    Args:
        env_file: a file to read in addition; it must exist.
        working_directory: read ``.env`` of the working directory too.

    Raises:
        InvalidInput: a value does not fit, the message names the setting and where it came from; or a file cannot be read.
    """
    files = _env_files(env_file, working_directory=working_directory)
    try:
        settings = Settings(_env_file=files)
    except ValidationError as error:
        problems = "; ".join(f"{_setting_name(e['loc'])}: {e['msg']}" for e in error.errors(include_input=False, include_url=False))
        raise InvalidInput(f"settings: {problems}. Correct it in the environment or in {_listed(files)}.") from None
    settings._files = tuple(files)  # noqa: SLF001  origins() asks for them
    return settings


def origins(settings: Settings) -> dict[str, str]:
    """Say for each setting where its value came from: ``environment NAME``, ``PATH NAME`` or ``default``."""
    sources = _sources(settings)
    return {field: _origin(field, sources) for field in type(settings).model_fields}


def files_of(settings: Settings) -> list[Path]:
    """Return the files that settings were read from, the strongest first."""
    return [path for path in reversed(settings._files) if path.is_file()]  # noqa: SLF001  see load_settings


def unknown_names(settings: Settings, *known: str) -> list[tuple[str, str]]:
    """Return the variables that begin like ours, are no setting and none of the known ones, each with where it stands."""
    fields = type(settings).model_fields
    # Whatever the case, as they are read; a field is read by its own name, too.
    names = {name.upper() for field in fields for name in (*_names(field), f"{_PREFIX}{field}")} | {*known}
    given = [(name, source) for source, values in _sources(settings) for name in values]
    return [(name, source) for name, source in given if name.upper().startswith(_PREFIX) and name.upper() not in names]


def setting_names() -> list[str]:
    """Return the name of each setting in the environment."""
    return [_names(field)[0] for field in Settings.model_fields]


def _sources(settings: Settings) -> list[tuple[str, Any]]:
    return [("environment", dict(os.environ)), *((str(path), dotenv_values(path)) for path in files_of(settings))]


def _origin(field: str, sources: list[tuple[str, Any]]) -> str:
    for source, values in sources:
        for name in _names(field):
            if values.get(name):
                return f"{source} {name}"
    return "default"


def _names(field: str) -> list[str]:
    alias = Settings.model_fields[field].validation_alias
    return [str(name) for name in alias.choices] if isinstance(alias, AliasChoices) else [str(alias)]


def _env_files(env_file: Path | None, *, working_directory: bool) -> list[Path]:
    """Return the files to read, the weakest first."""
    here = [Path(".env")] if working_directory else []
    files = [_home() / ".env", *here, *([env_file] if env_file else [])]
    for file in files:
        if not _is_readable(file) and file is env_file:
            raise InvalidInput(f"there is no file {file}; name an existing one with --env-file.", path=str(file))
    return files


def _home() -> Path:
    home = Path(os.environ.get("SESSION_DB_HOME") or default_home())
    try:
        return home.expanduser()
    except RuntimeError:
        raise InvalidInput(f"SESSION_DB_HOME {home}: there is no such user; give the whole path.", path=str(home)) from None


def _is_readable(file: Path) -> bool:
    """Say whether the file is there; one that is there and cannot be read is an ``InvalidInput``."""
    try:
        if not file.is_file():
            return False
        file.read_text(encoding="utf-8")
    except OSError as error:
        raise InvalidInput(
            f"settings file {file} cannot be read ({error.strerror}): run as a user who may read it, or set SESSION_DB_HOME to a directory "
            "of your own.",
            path=str(file),
        ) from error
    except UnicodeDecodeError:
        raise InvalidInput(f"settings file {file} is not valid UTF-8; write it anew in UTF-8.", path=str(file)) from None
    return True


def _setting_name(location: tuple[int | str, ...]) -> str:
    name = str(location[0])
    return name if name.isupper() else f"SESSION_DB_{name.upper()}"


def _listed(files: list[Path]) -> str:
    return " or ".join(str(path) for path in files)


def token_file(settings: Settings) -> Path:
    """Return where the token of this machine's service is."""
    return settings.home / "token"


def stored_token(settings: Settings) -> str | None:
    """Return what the file holds, which stays as it is; None where there is none, or none that may be read."""
    try:
        return token_file(settings).read_text(encoding="ascii", errors="replace").partition("\n")[0].strip()
    except OSError:
        return None


class _Current:
    settings: Settings | None = None


def get_settings() -> Settings:
    """Return the settings of this process, read once."""
    if _Current.settings is None:
        _Current.settings = load_settings(working_directory=True)
    return _Current.settings


def use_settings(settings: Settings | None) -> None:
    """Replace the settings of this process; ``None`` reads them anew at the next use.

    Engines made before keep theirs: call ``close_db`` first.
    """
    _Current.settings = settings
