"""``session-db doctor``: each check can fail, says what to do, and does it where that is safe."""

import asyncio
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from session_db import crud
from session_db.capture.hook import KEPT
from session_db.capture.spool import Spool
from session_db.database import UnitOfWork, get_async_session
from session_db.database.health import ServerHealth, server_health
from session_db.database.schema import DatabaseFacts
from session_db.doctor import data_checks, server_checks
from session_db.ids import new_id
from session_db.models import TokenCreate, Transcript
from session_db.models.table import now
from session_db.settings import load_settings, unknown_names
from tests.cli.conftest import CommandLine
from tests.databases import Database
from tests.factories import event, make_agent, make_event, make_session, message

OnDatabase = Callable[[Database], CommandLine]
ROOT = Path(__file__).parents[2]


class Found(NamedTuple):
    """A check, as ``--json`` tells it."""

    name: str
    state: str
    found: str
    remedy: str | None


class Doctor:
    """The command, and the database that it is asked about."""

    def __init__(self, cli: CommandLine, database: Database, home: Path) -> None:
        self.cli = cli
        self.database = database
        self.home = home

    def report(self, *options: str, exit_code: int = 0) -> dict[str, Any]:
        report: dict[str, Any] = self.cli.json("doctor", *options, exit_code=exit_code)
        return report

    def check(self, name: str, *options: str, exit_code: int = 0) -> Found:
        (check,) = [check for check in self.report(*options, exit_code=exit_code)["checks"] if check["name"] == name]
        return Found(**check)

    def fix(self, name: str, *, exit_code: int = 0) -> tuple[Found, list[Any]]:
        """Return what the check says after the fix, and what was done."""
        report = self.report("--fix", exit_code=exit_code)
        (check,) = [check for check in report["checks"] if check["name"] == name]
        return Found(**check), [fix["done"] or fix["error"] for fix in report["fixes"] if fix["name"] == name]

    def sql(self, statement: str) -> Any:
        async def work() -> Any:
            async with self.database.connected() as connection:
                return await connection.fetch(statement)

        return asyncio.run(work())

    def write(self, work: Callable[[UnitOfWork], Any]) -> Any:
        async def write() -> Any:
            async with self.database.used(), get_async_session() as db:
                return await work(db)

        return asyncio.run(write())


@pytest.fixture
def doctor(cli: CommandLine, fresh_database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Doctor:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("SESSION_DB_HOME", str(home))
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path / "claude"))
    monkeypatch.setenv("SESSION_DB_CLAUDE_DIRS", str(tmp_path / "claude"))
    return Doctor(cli, fresh_database, home)


class TestDoctor:
    def test_all_is_well(self, doctor: Doctor) -> None:
        report = doctor.report()
        assert {check["name"]: check["state"] for check in report["checks"]} == dict.fromkeys(
            [
                "settings", "secrets", "server", "upkeep", "connections", "migrations", "tables", "counters", "gaps", "spool",
                "transcripts", "client files", "deleted sessions", "agents", "empty sessions", "tokens", "ended tokens", "hooks", "disk",
            ],
            "ok",
        )  # fmt: skip
        assert [check["remedy"] for check in report["checks"] if check["remedy"]] == []
        assert report["fixes"] == []
        assert report["settings"]["url"]["from"] == "environment SESSION_DB_URL"
        assert "PostgreSQL" in doctor.cli("doctor").stdout

    def test_a_check_that_raises_is_a_finding_and_the_others_are_made(self, doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
        async def broken(*_: Any, **__: Any) -> Any:
            raise ZeroDivisionError("nobody\nexpected it")

        monkeypatch.setattr(data_checks, "list_unerased", broken)
        report = doctor.report(exit_code=1)
        states = {check["name"]: (check["state"], check["found"]) for check in report["checks"]}
        assert states["deleted sessions"] == ("failed", "could not be checked: ZeroDivisionError: nobody")
        assert {state for name, (state, _) in states.items() if name != "deleted sessions"} == {"ok"}

    def test_a_fix_that_raises_says_why_and_the_others_are_made(self, doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
        async def broken(*_: Any, **__: Any) -> Any:
            raise ZeroDivisionError("nobody expected it")

        monkeypatch.setattr(data_checks, "correct_counters", broken)
        doctor.write(make_event)
        doctor.sql("UPDATE sessions SET event_count = 7, title = 'x'")
        doctor.sql("DROP INDEX ix_agents_id")
        check, done = doctor.fix("counters", exit_code=1)
        assert (check.state, done) == ("failed", ["ZeroDivisionError: nobody expected it"])
        assert doctor.check("tables", exit_code=1).state == "ok"
        assert "Not fixed: counters" in doctor.cli("doctor", "--fix", exit_code=1).stdout

    def test_a_person_reads_what_was_fixed(self, doctor: Doctor) -> None:
        doctor.sql("DROP INDEX ix_agents_id")
        assert "→ Run session-db doctor --fix." in doctor.cli("doctor", exit_code=1).stdout
        assert "Fixed tables: CREATE INDEX CONCURRENTLY ix_agents_id" in " ".join(doctor.cli("doctor", "--fix").stdout.split())


class TestSettings:
    def test_a_misspelled_one_is_told_with_the_nearest(self, doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SESSION_DB_POLL_SIZE", "3")
        (doctor.home / ".env").write_text("SESSION_DB_RETAIN_EVERYTHING=1\nUNRELATED=1\n")
        check = doctor.check("settings")
        assert check.state == "warning"
        assert "environment SESSION_DB_POLL_SIZE (is it SESSION_DB_POOL_SIZE?)" in check.found
        assert f"{doctor.home}/.env SESSION_DB_RETAIN_EVERYTHING" in check.found
        assert "UNRELATED" not in check.found

    def test_every_name_in_the_documents_and_the_code_is_known(self, monkeypatch: pytest.MonkeyPatch) -> None:
        files = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "src").rglob("*.py")]
        words = {word.strip("_") for path in files for word in _words(path.read_text())} - {"SESSION_DB"}
        for name in words:
            monkeypatch.setenv(name, "")
        assert "SESSION_DB_CHECKPOINT" in words
        assert unknown_names(load_settings(), *KEPT) == []


def _words(text: str) -> list[str]:
    return [word for word in "".join(c if c.isalnum() or c == "_" else " " for c in text).split() if word.startswith("SESSION_DB_")]


class TestSecrets:
    def test_a_token_that_others_can_read_is_closed(self, doctor: Doctor) -> None:
        path = doctor.home / "token"
        path.write_text("sdb_x\n")
        path.chmod(0o644)
        check = doctor.check("secrets")
        assert (check.state, check.found, check.remedy) == ("warning", f"others can read {path}", "Run session-db doctor --fix.")
        check, done = doctor.fix("secrets")
        assert check.state == "ok"
        assert "revoke" in done[0]
        assert path.stat().st_mode & 0o777 == 0o600

    def test_a_file_of_settings_with_a_secret_is_left_to_the_person(self, doctor: Doctor) -> None:
        path = doctor.home / ".env"
        path.write_text("SESSION_DB_POOL_SIZE=3\n")
        path.chmod(0o644)
        assert doctor.check("secrets").state == "ok"
        path.write_text("SESSION_DB_TOKEN=secret\n")
        check, done = doctor.fix("secrets")
        assert (check.state, check.remedy, done) == ("warning", f"Run chmod 600 {path}.", [])
        path.chmod(0o600)
        assert doctor.check("secrets").state == "ok"


class TestServer:
    def test_an_unreachable_one_is_a_failure_without_its_password(self, doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SESSION_DB_URL", "postgresql://somebody:geheim@127.0.0.1:1/nothing")
        result = doctor.cli("doctor", "--fix", exit_code=1)
        assert "cannot be reached" in result.stdout
        assert "geheim" not in result.output
        assert [check["name"] for check in doctor.report(exit_code=1)["checks"]] == [
            "settings", "secrets", "server", "spool", "hooks", "disk",
        ]  # fmt: skip

    @pytest.mark.parametrize(("version", "state"), [("14.9 (Debian 14.9-1)", "failed"), ("15.0", "ok"), ("19beta1", "ok")])
    def test_one_that_is_too_old_is_a_failure(self, doctor: Doctor, monkeypatch: pytest.MonkeyPatch, version: str, state: str) -> None:
        async def facts() -> DatabaseFacts:
            return DatabaseFacts(version, 1)

        monkeypatch.setattr(server_checks, "database_facts", facts)
        assert doctor.check("server", exit_code=int(state == "failed")).state == state

    def test_missing_tables_are_found(self, doctor: Doctor, empty_database: Database, on_database: OnDatabase) -> None:
        on_database(empty_database)
        check, done = doctor.fix("migrations")
        assert (check.state, check.remedy, done) == ("warning", "Run session-db init.", [])
        assert "counters" not in [check["name"] for check in doctor.report()["checks"]]

    def test_tables_that_nobody_cleans_up_are_named(self, doctor: Doctor) -> None:
        doctor.sql("ALTER TABLE usage SET (autovacuum_enabled = off)")
        check = doctor.check("upkeep")
        assert (check.state, check.remedy) == ("warning", "ALTER TABLE usage RESET (autovacuum_enabled);")
        doctor.sql(str(check.remedy))
        assert doctor.check("upkeep").state == "ok"

    @pytest.mark.parametrize(
        ("values", "name", "state", "told"),
        [
            ({"autovacuum": False}, "upkeep", "warning", "autovacuum = on"),
            ({"transaction_age": 1_200_000_000}, "upkeep", "warning", "VACUUM FREEZE"),
            ({"transaction_age": 2_000_000_000}, "upkeep", "failed", "VACUUM FREEZE"),
            ({"connections": 90, "max_connections": 100}, "connections", "warning", "max_connections"),
        ],
    )
    def test_a_server_that_will_not_go_on_for_long_is_told(  # noqa: PLR0913, PLR0917  a case
        self, doctor: Doctor, monkeypatch: pytest.MonkeyPatch, values: dict[str, Any], name: str, state: str, told: str
    ) -> None:
        async def sick() -> ServerHealth:
            return replace(await server_health(), **values)

        monkeypatch.setattr(server_checks, "server_health", sick)
        check = doctor.check(name, exit_code=int(state == "failed"))
        assert check.state == state
        assert told in (check.remedy or "")


class TestTables:
    def test_a_missing_and_an_invalid_index_are_built(self, doctor: Doctor) -> None:
        doctor.sql("DROP INDEX ix_agents_id")
        doctor.sql("UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'ix_sessions_words'::regclass")
        check = doctor.check("tables", exit_code=1)
        assert check.found == "index ix_agents_id of agents is missing; index ix_sessions_words of sessions is invalid"
        assert check.remedy == "Run session-db doctor --fix."
        check, done = doctor.fix("tables")
        assert check.state == "ok"
        assert "REINDEX INDEX CONCURRENTLY public.ix_sessions_words" in done[0]
        assert doctor.check("tables").state == "ok"

    def test_a_constraint_is_validated(self, doctor: Doctor) -> None:
        doctor.sql("ALTER TABLE agents DROP CONSTRAINT ck_agents_status")
        check, done = doctor.fix("tables", exit_code=1)
        assert (check.state, done) == ("failed", [])
        assert "ADD CONSTRAINT ck_agents_status CHECK" in str(check.remedy)
        doctor.sql(str(check.remedy).removeprefix("By hand: ") + " NOT VALID")
        assert "was never checked" in doctor.check("tables", exit_code=1).found
        check, done = doctor.fix("tables")
        assert (check.state, done) == ("ok", ["ALTER TABLE public.agents VALIDATE CONSTRAINT ck_agents_status"])

    def test_rows_that_a_constraint_does_not_allow_are_told(self, doctor: Doctor) -> None:
        doctor.write(make_agent)
        doctor.sql("ALTER TABLE agents DROP CONSTRAINT ck_agents_status")
        doctor.sql("UPDATE agents SET status = 'odd'")
        doctor.sql("ALTER TABLE agents ADD CONSTRAINT ck_agents_status CHECK (status <> 'odd') NOT VALID")
        check, done = doctor.fix("tables", exit_code=1)
        assert check.state == "failed"
        assert "is violated by some row" in done[0]

    def test_a_missing_column_needs_a_backup(self, doctor: Doctor) -> None:
        doctor.sql("ALTER TABLE memory_files DROP loaded")
        check, done = doctor.fix("tables", exit_code=1)
        assert (check.found, done) == ("column memory_files.loaded is missing", [])
        assert "session-db restore" in str(check.remedy)


class TestCounters:
    def test_they_are_set_to_what_the_rows_say(self, doctor: Doctor) -> None:
        async def make(db: UnitOfWork) -> None:
            for _ in range(3):
                agent = await make_agent(db, cost=0.5)
                await crud.append_agent_logs(db, [event(agent.session_id) for _ in range(4)])
                await crud.save_display_messages(db, agent.session_id, [message()])

        doctor.write(make)
        assert "sessions compared: 3 (the last active; --all" in doctor.check("counters").found
        doctor.sql("UPDATE sessions SET event_count = 2, total_cost = 9")
        doctor.sql("UPDATE activity_minutes SET events = 1")
        check = doctor.check("counters", exit_code=1)
        assert check.state == "failed"
        assert "sessions with such: 3" in check.found
        assert "event_count of session" in check.found
        assert "is 2, and the rows say 4" in check.found
        check, done = doctor.fix("counters")
        assert (check.state, len(done)) == ("ok", 1)
        assert doctor.check("counters", "--all").found == "all are what the rows say; sessions compared: 3"

    def test_those_of_all_sessions_are_compared_only_when_asked(self, doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(data_checks, "SAMPLED", 2)
        monkeypatch.setattr(data_checks, "PAGE", 2)

        async def make(db: UnitOfWork) -> list[str]:
            return [str((await make_event(db)).session_id) for _ in range(5)]

        first = doctor.write(make)[0]
        doctor.sql(f"UPDATE sessions SET event_count = 9, last_activity = '2020-01-01Z' WHERE id = '{first}'")
        assert doctor.check("counters").state == "ok"
        assert first in doctor.check("counters", "--all", exit_code=1).found
        report = doctor.report("--all", "--fix")
        assert [fix["done"] for fix in report["fixes"]] == ["1 counters were set to what the rows say"]
        assert doctor.check("counters", "--all").found == "all are what the rows say; sessions compared: 5"

    def test_many_wrong_minutes_are_set_right(self, doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(data_checks, "MINUTES", 2)

        async def make(db: UnitOfWork) -> None:
            session = await make_session(db)
            moments = [now() - timedelta(minutes=number) for number in range(5)]
            await crud.append_agent_logs(db, [event(session, timestamp=moment) for moment in moments])

        doctor.write(make)
        doctor.sql("DELETE FROM activity_minutes")
        assert doctor.fix("counters") == (
            Found("counters", "ok", "all are what the rows say; sessions compared: 1 (the last active; --all compares every one)", None),
            ["5 counters were set to what the rows say"],
        )

    def test_an_agent_behind_many_sessions_that_are_over_is_found(self, doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("session_db.crud.paging.WALKED", 2)

        async def make(db: UnitOfWork) -> None:
            for _ in range(5):
                session = await make_session(db)
            await make_agent(db, session.id, status="executing")

        doctor.write(make)
        doctor.sql("UPDATE sessions SET last_activity = now() - interval '9 days'")
        doctor.sql("UPDATE sessions SET last_activity = now() - interval '8 days' WHERE id IN (SELECT session_id FROM agents)")
        check = doctor.check("agents")
        assert check.state == "warning"
        assert "in 1 session:" in check.found

    def test_what_is_gone_is_told_and_no_fix_hides_it(self, doctor: Doctor) -> None:
        async def make(db: UnitOfWork) -> None:
            session = await make_session(db)
            await crud.append_agent_logs(db, [event(session) for _ in range(4)])

        doctor.write(make)
        doctor.sql("DELETE FROM agent_logs WHERE event_index IN (1, 3)")
        assert doctor.check("gaps", exit_code=1).found.startswith("missing between others: 1 events of session")
        check, _ = doctor.fix("gaps")
        assert check.state == "warning"
        assert "backup" in str(check.remedy)


class TestSpool:
    def test_what_waits_and_what_was_set_aside_is_told(self, doctor: Doctor) -> None:
        assert doctor.check("spool") == Found("spool", "ok", "0 captured events wait, 0 were set aside", None)
        spool = Spool(doctor.home / "spool")
        name = spool.put(b"{}", {}, "host")
        assert doctor.check("spool").found == "1 captured events wait, 0 were set aside"
        _make_old(spool, name)
        check = doctor.check("spool")
        assert check.state == "warning"
        assert check.found == "1 captured events wait, 0 were set aside, the first since 1970-01-01 00:00 UTC"
        assert check.remedy == "Run session-db drain."

    def test_it_is_drained_and_what_nobody_understands_is_kept(self, doctor: Doctor) -> None:
        spool = Spool(doctor.home / "spool")
        payload = {"session_id": str(new_id()), "hook_event_name": "SessionStart", "cwd": "/somewhere", "transcript_path": ""}
        for content in (json.dumps(payload).encode(), b"no event"):
            _make_old(spool, spool.put(content, {}, "host"))
        check, done = doctor.fix("spool")
        assert done == ["1 events were written, 0 were known, 1 set aside"]
        assert (check.state, check.found) == ("warning", "0 captured events wait, 1 were set aside")
        assert str(spool.directory) in str(check.remedy)
        assert doctor.sql("SELECT event_type FROM agent_logs")[0]["event_type"] == "SessionStart"


def _make_old(spool: Spool, name: str) -> None:
    parts = name.split("-")
    (spool.directory / "new" / name).rename(spool.directory / "new" / "-".join([*parts[:2], f"{1:020d}", parts[3]]))


class TestTranscripts:
    def test_what_is_known_to_be_missing_is_told_with_where_it_is(self, doctor: Doctor) -> None:
        def lack(**values: Any) -> None:
            async def make(db: UnitOfWork) -> None:
                session = await make_session(db)
                db.add(Transcript(id=new_id(), session_id=session.id, project_key="p", sdk_session_id="s", **values))

            doctor.write(make)

        assert doctor.check("transcripts")[1:] == ("ok", "0 were not read yet, 0 entries are missing", None)
        lack(gaps=3)
        assert doctor.check("transcripts")[1:3] == ("warning", "0 were not read yet, 3 entries are missing")
        for host in ("b", "a", "b", None):
            lack(source="hooks", host=host)
        assert doctor.check("transcripts")[1:] == (
            "warning",
            "3 were not read yet, 3 entries are missing",
            "Run session-db drain, or session-db import, where they are: b (2), a (1).",
        )

    def test_one_of_this_machine_that_is_gone_is_waited_for_no_longer(self, doctor: Doctor, tmp_path: Path) -> None:
        async def make(db: UnitOfWork) -> None:
            session = await make_session(db)
            stream = Transcript(id=new_id(), session_id=session.id, project_key="p", sdk_session_id="s", source="hooks")
            stream.host, stream.file_path = os.uname().nodename, str(tmp_path / "s.jsonl")
            db.add(stream)

        doctor.write(make)
        assert doctor.check("transcripts").state == "warning"
        assert doctor.fix("transcripts") == (Found("transcripts", "ok", "0 were not read yet, 0 entries are missing", None), [])


class TestSessions:
    def test_deleted_ones_are_erased(self, doctor: Doctor) -> None:
        async def make(db: UnitOfWork) -> None:
            await crud.delete_session(db, (await make_event(db)).session_id)

        doctor.write(make)
        assert doctor.check("deleted sessions").state == "ok"
        doctor.sql("UPDATE sessions SET deleted_at = deleted_at - interval '2 hours'")
        assert doctor.check("deleted sessions").found == "deleted more than an hour ago, and not erased: 1 session"
        check, done = doctor.fix("deleted sessions")
        assert (check.state, len(done)) == ("ok", 1)
        assert doctor.sql("SELECT FROM sessions") == []

    def test_empty_ones_are_named(self, doctor: Doctor) -> None:
        async def make(db: UnitOfWork) -> str:
            await make_event(db)
            await crud.save_display_messages(db, (await make_session(db)).id, [message()])
            return str((await make_session(db)).id)

        empty = doctor.write(make)
        assert doctor.check("empty sessions").state == "ok"
        doctor.sql("UPDATE sessions SET last_activity = last_activity - interval '2 days'")
        check = doctor.check("empty sessions")
        assert check.found == f"without events and messages for a day: 1 session: {empty}"
        doctor.cli("sessions", "delete", empty, "--yes")
        assert doctor.check("empty sessions").state == "ok"

    def test_agents_of_which_nothing_is_heard_have_failed(self, doctor: Doctor) -> None:
        agent = doctor.write(lambda db: make_agent(db, status="executing"))
        assert doctor.check("agents").state == "ok"
        doctor.sql("UPDATE sessions SET last_activity = '2020-01-01Z'")
        doctor.sql("UPDATE agents SET updated_at = '2020-01-01Z', created_at = '2020-01-01Z'")
        check = doctor.check("agents")
        assert check.state == "warning"
        assert str(agent.id) in check.found
        check, done = doctor.fix("agents")
        assert check.state == "ok"
        assert done[0].startswith("1 agents have failed")
        assert doctor.sql("SELECT status FROM agents")[0]["status"] == "failed"

    def test_agents_are_never_lost_where_that_is_set(self, doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SESSION_DB_LOST_AFTER", "never")
        doctor.write(lambda db: make_agent(db, status="executing"))
        doctor.sql("UPDATE sessions SET last_activity = '2020-01-01Z'")
        assert doctor.check("agents").state == "ok"


class TestTokens:
    def test_those_that_end_soon_and_those_never_used_are_named(self, doctor: Doctor) -> None:
        async def make(db: UnitOfWork) -> None:
            await crud.create_token(db, TokenCreate(name="nightly", expires_at=now() + timedelta(days=5)))
            await crud.create_token(db, TokenCreate(name="yearly", expires_at=now() + timedelta(days=365)))

        doctor.write(make)
        check = doctor.check("tokens")
        assert check.state == "warning"
        assert "nightly" in check.found
        assert "yearly" not in check.found
        doctor.sql("UPDATE tokens SET created_at = created_at - interval '40 days', expires_at = NULL")
        assert "yearly" in doctor.check("tokens").found
        doctor.sql("UPDATE tokens SET last_used_at = now()")
        assert doctor.check("tokens").state == "ok"

    def test_the_token_of_this_machines_service_may_be_unused(self, doctor: Doctor) -> None:
        made = doctor.write(lambda db: crud.create_token(db, TokenCreate(name="serve@here")))
        doctor.sql("UPDATE tokens SET created_at = created_at - interval '40 days'")
        assert "serve@here" in doctor.check("tokens").found
        (doctor.home / "token").write_text(f"{made.text}\n")
        (doctor.home / "token").chmod(0o600)
        assert doctor.check("tokens").state == "ok"

    @pytest.mark.parametrize("ended", ["expires_at", "revoked_at"])
    def test_those_that_ended_long_ago_are_deleted(self, doctor: Doctor, ended: str) -> None:
        async def make(db: UnitOfWork) -> None:
            for name in ("old", "young"):
                await crud.create_token(db, TokenCreate(name=name))

        doctor.write(make)
        doctor.sql(f"UPDATE tokens SET {ended} = now() - CASE name WHEN 'old' THEN interval '91 days' ELSE interval '89 days' END")
        assert doctor.check("ended tokens").found == "of no use for 90 days: 1"
        check, done = doctor.fix("ended tokens")
        assert (check.state, done) == ("ok", ["1 tokens that work no more were deleted"])
        assert [row["name"] for row in doctor.sql("SELECT name FROM tokens")] == ["young"]


class TestMachine:
    def test_a_full_disk_is_told(self, doctor: Doctor, monkeypatch: pytest.MonkeyPatch) -> None:
        usage = shutil.disk_usage(doctor.home)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10**6))
        check = doctor.check("disk")
        assert (check.state, check.remedy) == ("warning", "Free some space.")

    def test_hooks_that_are_installed_are_told(self, doctor: Doctor) -> None:
        doctor.cli("hooks", "install", "--client-version", "2.1.330")
        check = doctor.check("hooks")
        assert check.state == "ok"
        assert "(spool)" in check.found

    def test_hooks_whose_service_does_not_answer_are_a_failure(
        self, doctor: Doctor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SESSION_DB_TOKEN", "sdb_x")
        doctor.cli("hooks", "install", "--transport", "http", "--url", "http://127.0.0.1:9", "--client-version", "2.1.330")
        check = doctor.check("hooks", exit_code=1)
        assert "http://127.0.0.1:9 does not answer" in check.found

    def test_hooks_that_the_client_does_not_run_are_told(self, doctor: Doctor, tmp_path: Path) -> None:
        doctor.cli("hooks", "install", "--client-version", "2.1.330")
        path = tmp_path / "claude" / "settings.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"disableAllHooks": True}))
        check = doctor.check("hooks")
        assert check.state == "warning"
        assert "disableAllHooks" in str(check.remedy)
