"""What `/metrics` counts, in a registry of the application's own."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from pathlib import Path
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead

from session_db.capture.spool import spool_of
from session_db.crud import AppendedEvent, AppendedMessage
from session_db.crud.transcripts import Missing
from session_db.database import get_engine
from session_db.live import get_hub
from session_db.models.table import now
from session_db.settings import get_settings

DIRECTORY = "PROMETHEUS_MULTIPROC_DIR"
"""Variable with the directory where several workers leave what they count; prometheus-client's own."""

_CURRENT: ContextVar["Metrics | None"] = ContextVar("session_db_metrics", default=None)

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "WEBSOCKET"})
Kind = Literal["events", "messages"]

_SECONDS = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)


class Metrics:
    """Counts of one worker; ``text`` gives those of all workers together."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        where = ("route", "method")
        self._requests = Counter(
            "session_db_requests", "Requests, streams and WebSockets that ended.", (*where, "status"), registry=registry
        )
        self._seconds = Histogram(
            "session_db_request_seconds", "Seconds until an answer began.", where, buckets=_SECONDS, registry=registry
        )
        self._appended = Counter("session_db_appended", "Rows that requests appended.", ("kind",), registry=registry)
        self._lag = Histogram(
            "session_db_stream_lag_seconds",
            "Seconds from the recording of an event until a stream that was at its end tells it.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._streams = Gauge("session_db_streams", "Streams and WebSockets that are open.", multiprocess_mode="livesum", registry=registry)
        self._listening = Gauge(
            "session_db_listening",
            "Workers that hear of changes; the others look for them each second.",
            multiprocess_mode="livesum",
            registry=registry,
        )
        self._pool = Gauge(
            "session_db_pool_connections", "Connections to the database.", ("state",), multiprocess_mode="livesum", registry=registry
        )
        self._spool = Gauge(
            "session_db_spool_events", "Captured events on this host, by whether they wait or were set aside.", ("state",),
            multiprocess_mode="livemax", registry=registry,
        )  # fmt: skip
        self._spool_age = Gauge(
            "session_db_spool_oldest_seconds", "How long the first of those that wait has waited.",
            multiprocess_mode="livemax", registry=registry,
        )  # fmt: skip
        self._pending = Gauge(
            "session_db_transcripts_pending", "Transcripts that lie on some machine, and that nobody has read yet.",
            multiprocess_mode="livemax", registry=registry,
        )  # fmt: skip
        self._gaps = Gauge(
            "session_db_transcript_gaps", "Entries of transcripts that are known to be missing.",
            multiprocess_mode="livemax", registry=registry,
        )  # fmt: skip
        if DIRECTORY not in os.environ:
            ProcessCollector(registry=registry)

    def answered(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count a request that ended."""
        method = method if method in _METHODS else "other"
        self._requests.labels(route, method, str(status)).inc()
        self._seconds.labels(route, method).observe(seconds)

    @contextmanager
    def counting(self) -> Iterator[None]:
        """Let ``count_appended`` count here inside the block."""
        token = _CURRENT.set(self)
        try:
            yield
        finally:
            _CURRENT.reset(token)

    def appended(self, kind: Kind, number: int) -> None:
        """Count rows that a request appended."""
        self._appended.labels(kind).inc(number)

    def told(self, recorded_at: datetime) -> None:
        """Count an event that a stream tells."""
        self._lag.observe(max(0, (now() - recorded_at).total_seconds()))

    def opened(self, number: int) -> None:
        """Count streams that were opened, or with -1 one that ended."""
        self._streams.inc(number)

    def lacks(self, missing: Missing) -> None:
        """Note what is known to be missing."""
        self._pending.set(missing.pending)
        self._gaps.set(missing.entries)

    def look(self) -> None:
        """Note what is not told but looked at: the pool of this event loop, and whether its hub listens."""
        for state, connections in pool_state().items():
            self._pool.labels(state).set(connections)
        self._listening.set(get_hub().mode == "listening")
        spool = spool_of(get_settings()).state()
        self._spool.labels("waiting").set(spool.waiting)
        self._spool.labels("bad").set(spool.bad)
        self._spool_age.set(0 if spool.oldest is None else max(0, (now() - spool.oldest).total_seconds()))

    def text(self) -> bytes:
        """Return all in Prometheus' format; of several workers the sum, what is looked at from some seconds ago."""
        self.look()
        if DIRECTORY not in os.environ:
            return generate_latest(self._registry)
        _forget_dead_workers(Path(os.environ[DIRECTORY]))
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)


def count_appended(kind: Kind, rows: Iterable[AppendedEvent | AppendedMessage]) -> None:
    """Count the new ones of the rows that this request appended."""
    metrics = _CURRENT.get()
    if metrics is not None:
        metrics.appended(kind, sum(row.is_new for row in rows))


def count_told(recorded_at: datetime) -> None:
    """Count an event that this stream tells, by the moment it was recorded."""
    metrics = _CURRENT.get()
    if metrics is not None:
        metrics.told(recorded_at)


def pool_state() -> dict[str, int]:
    """Return how many connections of this event loop's pool are in use, and how many wait."""
    pool = get_engine().pool
    # Which pool it is decides what it counts.
    return {state: getattr(pool, count, int)() for state, count in (("in_use", "checkedout"), ("idle", "checkedin"))}


def _forget_dead_workers(directory: Path) -> None:
    """Let what a killed worker had open count no more."""
    for path in directory.glob("gauge_live*.db"):
        pid = path.stem.rpartition("_")[2]
        # Where there is no /proc it counts on; a worker that ends well says so itself.
        if Path("/proc/self").exists() and not Path(f"/proc/{pid}").exists():
            mark_process_dead(int(pid), str(directory))  # type: ignore[no-untyped-call]
