"""The commands ``tokens create|list|revoke``."""

from datetime import UTC, datetime, timedelta

import pytest

from session_db.cli.tokens import moment_of
from session_db.errors import InvalidInput
from tests.cli.conftest import CommandLine


class TestCreate:
    def test_the_token_stands_alone_on_standard_output(self, cli: CommandLine) -> None:
        result = cli("tokens", "create", "--name", "deploy")
        (text,) = result.stdout.splitlines()
        assert text.startswith("sdb_")
        assert "until it is revoked, with scope write" in result.stderr
        assert text not in result.stderr

    def test_json_has_it_with_all_that_is_shown_of_it(self, cli: CommandLine) -> None:
        made = cli.json("tokens", "create", "--name", "hooks of a laptop", "--scope", "hooks", "--expires", "30d")
        assert (made["name"], made["scope"], made["kind"]) == ("hooks of a laptop", "hooks", "api")
        assert made["id"].replace("-", "") == made["token"].split("_")[1]
        assert "hash" not in made
        assert timedelta(days=29) < datetime.fromisoformat(made["expires_at"]) - datetime.now(UTC) <= timedelta(days=30)

    @pytest.mark.parametrize(
        ("arguments", "named"),
        [
            (["--name", "x", "--scope", "all"], "read, write, hooks, admin"),
            (["--name", "x", "--expires", "soon"], "30d"),
            (["--name", "x", "--expires", "2020-01-01"], "2020-01-01"),
            (["--name", ""], "name"),
        ],
    )
    def test_what_cannot_be_is_refused_with_the_remedy(self, cli: CommandLine, arguments: list[str], named: str) -> None:
        error = cli.json("tokens", "create", *arguments, exit_code=2)["error"]
        assert error["code"] == "invalid_input"
        assert named in error["message"]


class TestExpires:
    @pytest.mark.parametrize(("text", "span"), [("30d", timedelta(days=30)), ("12h", timedelta(hours=12)), ("90m", timedelta(minutes=90))])
    def test_a_span_begins_now(self, text: str, span: timedelta) -> None:
        assert abs(moment_of(text) - datetime.now(UTC) - span) < timedelta(seconds=10)

    @pytest.mark.parametrize("text", ["2027-01-01", "2027-01-01T00:00", "2027-01-01T01:00+01:00"])
    def test_a_date_without_a_zone_is_utc(self, text: str) -> None:
        assert moment_of(text) == datetime(2027, 1, 1, tzinfo=UTC)

    @pytest.mark.parametrize("text", ["", "d", "1y", "999999999d", "-1d", "2027-13-01", "0001-01-01T00:00+14:00"])
    def test_anything_else_is_no_moment(self, text: str) -> None:
        with pytest.raises(InvalidInput, match="is no moment"):
            moment_of(text)


class TestList:
    def test_it_comes_in_pages_the_newest_first_and_without_a_secret(self, cli: CommandLine) -> None:
        for name in ("a", "b", "c"):
            cli("tokens", "create", "--name", name)
        first = cli.json("tokens", "list", "--limit", "2")
        second = cli.json("tokens", "list", "--limit", "2", "--cursor", first["next_cursor"])
        assert [token["name"] for token in first["items"] + second["items"]] == ["c", "b", "a"]
        assert {"token", "hash"} & set(first["items"][0]) == set()

    def test_people_see_what_still_works(self, cli: CommandLine) -> None:
        assert "No tokens yet" in cli("tokens", "list").stdout
        revoked = cli.json("tokens", "create", "--name", "former")["id"]
        cli("tokens", "revoke", revoked)
        cli("tokens", "create", "--name", "present", "--expires", "2100-01-01")
        shown = cli("tokens", "list").stdout
        assert revoked in shown
        assert "revoked" in shown
        assert "until 2100-01-01" in shown


class TestRevoke:
    def test_it_says_which(self, cli: CommandLine) -> None:
        token = cli.json("tokens", "create", "--name", "former")["id"]
        assert cli("tokens", "revoke", token).stdout == "Revoked former.\n"
        assert cli.json("tokens", "revoke", token)["revoked_at"] is not None

    def test_one_that_is_not_there_is_not_found(self, cli: CommandLine) -> None:
        error = cli.json("tokens", "revoke", "018cc251-0000-7000-8000-000000000000", exit_code=3)["error"]
        assert "tokens list" in error["message"]
