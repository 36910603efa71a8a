"""What a cluster of ours looks like: how it is made, who may connect, and its settings."""

from collections.abc import Mapping

ROLE = "session_db"
DATABASE = "session_db"
# The database compares text by code point, so that no upgrade of the operating system's locale can break an index.
INITDB_ARGUMENTS = (
    f"--username={ROLE}",
    "--auth=peer",
    "--encoding=UTF8",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--locale=C",
    "--no-instructions",
)
CREATE_DATABASE = f"CREATE DATABASE {DATABASE};\n"

# A server of about 10 MB for one person's agents.
LIGHT_SETTINGS = {
    "shared_buffers": "16MB",
    "max_connections": "100",
    "io_method": "sync",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_logical_replication_workers": "0",
    "max_worker_processes": "4",
    "max_wal_size": "256MB",
    "min_wal_size": "32MB",
    "jit": "off",
    # The query of a client that was killed ends, and does not keep the server from stopping.
    "client_connection_check_interval": "1s",
    # A container's /dev/shm has 64 MB, and a logout may empty it.
    "dynamic_shared_memory_type": "mmap",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    # Statements hold what people wrote.
    "log_min_error_statement": "panic",
}


def server_arguments(extra: Mapping[str, str], *, cluster_name: str, socket_directory: str) -> list[str]:
    """Return all settings as the server's arguments, which beat ``postgresql.conf``.

    The extra ones cannot replace those that keep the server private.
    """
    private = {
        "listen_addresses": "",
        "unix_socket_directories": socket_directory,
        "unix_socket_permissions": "0700",
        "port": "5432",
        "cluster_name": cluster_name,
    }
    return [f"--{name}={value}" for name, value in {**LIGHT_SETTINGS, **extra, **private}.items()]


def initdb_arguments(settings: Mapping[str, str]) -> list[str]:
    """Return initdb's arguments; a server that does not care for a crash needs no careful start either."""
    return [*INITDB_ARGUMENTS, *(["--no-sync"] if settings.get("fsync") == "off" else [])]


def access_files(owner: str) -> dict[str, str]:
    """Return the files that let this account in, over the socket, and nobody else."""
    quoted = owner.replace('"', '""')
    return {
        "pg_hba.conf": f"local all {ROLE} peer map=owner\n",
        "pg_ident.conf": f'owner "{quoted}" {ROLE}\n',
    }
