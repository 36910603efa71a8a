"""URLs, and what people are told when the database cannot be reached."""

import ssl

import pytest
from pydantic import SecretStr

from session_db.database import async_session, close_db, init_db
from session_db.database.url import connect_arguments, shown_url
from session_db.errors import InvalidInput, Unavailable
from session_db.settings import Settings, use_settings
from tests.databases import Database

SECRET = "s3cr3t"
UNREADABLE = [
    f"postgresql://user:{SECRET}/x@host/db",
    f"postgresql://user:12/{SECRET}@host/db",
    f"postgresql://user:12?{SECRET}@host/db",
    f"postgresql://user:12#{SECRET}@host/db",
    f"postgresql://user:[{SECRET}@host/db",
    f"postgresql://user:{SECRET}@host:port/db",
    f"postgresql://user:12?x={SECRET}@host/db",
]


class TestConnectArguments:
    @pytest.mark.parametrize(
        ("written", "read"),
        [
            ("postgres://u:p@h:5432/d", "postgresql://u:p@h:5432/d"),
            ("postgresql+asyncpg://u:p@h/d", "postgresql://u:p@h/d"),
            ("postgresql+psycopg2://h/d", "postgresql://h/d"),
            ("postgresql://h/d?sslmode=require&channel_binding=require", "postgresql://h/d?sslmode=require"),
            ("postgresql://h/d?ssl=verify-full&gssencmode=disable", "postgresql://h/d?sslmode=verify-full"),
            ("postgresql://h/d?ssl=true&uselibpqcompat=true", "postgresql://h/d?sslmode=require"),
            ("postgresql://h/d?sslmode=no-verify", "postgresql://h/d?sslmode=require"),
            ("postgresql://h/d?ssl=true&sslmode=verify-full", "postgresql://h/d?sslmode=verify-full"),
            ("postgresql://h:6543/d?pgbouncer=true&connection_limit=1", "postgresql://h:6543/d"),
            ("postgresql://h/d?keepalives=1&application_name=agents", "postgresql://h/d?application_name=agents"),
            ("postgresql://u@/d?host=/run/pg", "postgresql://u@/d?host=%2Frun%2Fpg"),
            ("postgresql://u@/d?host=/cloudsql/p:r:i", "postgresql://u@/d?host=%2Fcloudsql%2Fp%3Ar%3Ai"),
            ("postgresql://u:a%2Fb%40c@h/d", "postgresql://u:a%2Fb%40c@h/d"),
            ("postgresql://u:a@b@h/d", "postgresql://u:a%40b@h/d"),
            (
                "postgresql://u@h1:5432,h2:5433/d?target_session_attrs=primary",
                "postgresql://u@h1:5432,h2:5433/d?target_session_attrs=primary",
            ),
            ("postgresql://u@[::1]:5432/d", "postgresql://u@[::1]:5432/d"),
        ],
    )
    def test_the_forms_that_people_write(self, written: str, read: str) -> None:
        assert connect_arguments(written) == {"dsn": read}

    def test_the_time_to_connect(self) -> None:
        assert connect_arguments("postgresql://h/d?connect_timeout=7") == {"dsn": "postgresql://h/d", "timeout": 7}
        assert connect_arguments("postgresql://h/d?connect_timeout=0") == {"dsn": "postgresql://h/d"}
        with pytest.raises(InvalidInput, match="connect_timeout='soon'"):
            connect_arguments("postgresql://h/d?connect_timeout=soon")

    def test_the_certificates_that_this_machine_trusts(self) -> None:
        arguments = connect_arguments("postgresql://h/d?sslmode=verify-full&sslrootcert=system")
        assert arguments["dsn"] == "postgresql://h/d?sslmode=verify-full"
        assert (arguments["ssl"].verify_mode, arguments["ssl"].check_hostname) == (ssl.CERT_REQUIRED, True)
        with pytest.raises(InvalidInput, match="needs sslmode=verify-full, not disable"):
            connect_arguments("postgresql://h/d?sslmode=disable&sslrootcert=system")

    @pytest.mark.parametrize("url", [*UNREADABLE, f"mysql://u:{SECRET}@h/d", f"user:{SECRET}@host/db", SECRET, "", f"http:{SECRET}@h"])
    def test_what_is_no_url_of_postgresql_is_refused_without_its_password(self, url: str) -> None:
        with pytest.raises(InvalidInput, match="SESSION_DB_URL") as caught:
            connect_arguments(url)
        assert SECRET not in str(caught.value)
        assert caught.value.__context__ is None or caught.value.__suppress_context__


class TestShownUrl:
    @pytest.mark.parametrize(
        ("url", "shown"),
        [
            (f"postgresql://user:{SECRET}@host:5432/db?sslmode=require", "postgresql://user:***@host:5432/db?sslmode=require"),
            (f"postgres://host/db?user=u&password={SECRET}", "postgres://host/db?user=u&password=***"),
            (f"postgresql://user:{SECRET}@{SECRET}@host/db", "postgresql://user:***@host/db"),
            ("postgresql://user@/db?host=/run/pg", "postgresql://user@/db?host=/run/pg"),
            *((url, "***") for url in UNREADABLE),
        ],
    )
    def test_it_hides_the_password_and_nothing_else(self, url: str, shown: str) -> None:
        assert shown_url(url) == shown


class TestPasswords:
    def test_settings_never_show_them(self) -> None:
        settings = Settings(url=SecretStr(f"postgresql://user:{SECRET}@host/db"))
        assert SECRET not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"

    @pytest.mark.parametrize(
        "url", ["postgresql://user:{}@127.0.0.1:1/db", "postgresql://user:{}@127.0.0.1:1/db?sslmode=wrong", *UNREADABLE]
    )
    async def test_errors_never_show_them(self, url: str) -> None:
        use_settings(Settings(url=SecretStr(url.format(SECRET))))
        with pytest.raises((Unavailable, InvalidInput)) as caught:
            await init_db()
        assert SECRET not in str(caught.value)


class TestUnavailable:
    async def test_a_server_that_is_not_there(self) -> None:
        use_settings(Settings(url=SecretStr("postgresql://user@127.0.0.1:1/db")))
        with pytest.raises(Unavailable, match="SESSION_DB_URL"):
            async with async_session() as db:
                await db.connection()
        await close_db()

    @pytest.mark.parametrize("place", [f"{'h' * 64}:5432/db", "127.0.0.1:1,/db", "/db?port=abc&host=127.0.0.1"])
    async def test_a_place_that_no_host_can_have(self, place: str) -> None:
        use_settings(Settings(url=SecretStr(f"postgresql://user:{SECRET}@{place}")))
        with pytest.raises(InvalidInput, match="SESSION_DB_URL cannot be read") as caught:
            await init_db()
        assert SECRET not in str(caught.value)

    async def test_hosts_of_which_none_is_as_asked_for(self, fresh_database: Database) -> None:
        url = SecretStr(f"{fresh_database.direct_url}&target_session_attrs=standby")
        use_settings(Settings(url=url))
        with pytest.raises(Unavailable, match="SESSION_DB_URL"):
            await init_db()
        use_settings(fresh_database.settings)

    async def test_a_database_that_is_not_there(self, fresh_database: Database) -> None:
        missing = SecretStr(fresh_database.url.replace(fresh_database.name, "session_db_no_such_database"))
        use_settings(fresh_database.settings.model_copy(update={"url": missing}))
        with pytest.raises(Unavailable, match="session_db_no_such_database"):
            await init_db()
        use_settings(fresh_database.settings)
