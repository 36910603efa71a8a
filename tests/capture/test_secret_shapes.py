"""Which texts hold a secret, and which only look odd."""

import json
import re
import subprocess
import sys
import time
from importlib.resources import files
from pathlib import Path

import pytest
import re2

from session_db.capture.redaction import masked
from session_db.capture.secret_shapes import _OURS, Shape, _shapes, _theirs, find_secrets
from tests.capture.fake_secrets import AROUND, HARMLESS, PASSWORD, SECRETS

FIXTURES = Path(__file__).parents[1] / "fixtures" / "claude-code"
IN_A_TEXT = [
    "{}", 'export TOKEN="{}"\nnext', "it is {}, ok?", "({}).", '{{\\"k\\":\\"{}\\"}}', "é→{}←", "first\\n{}\\nnext",
    "\x1b[32m{}\x1b[0m", "\\u001b[1;32m{}\\u001b[0m", "\\x1b[1m{}\\x1b[0m", "\\033[31m{}\\033[0m",
    "tool -{}", "mysql -p{} db", "+{}", "a\\n-{}",
]  # fmt: skip
PRIVATE_KEY = "PRIVATE" + " KEY"
MIB = 1024 * 1024


def found_in(text: str) -> list[str]:
    raw = text.encode()
    return [raw[secret.start : secret.end].decode() for secret in find_secrets(raw)]


class TestSecrets:
    @pytest.mark.parametrize("around", IN_A_TEXT)
    @pytest.mark.parametrize("secret", SECRETS)
    def test_they_are_found_whole_wherever_they_stand(self, secret: str, around: str) -> None:
        assert found_in(around.format(SECRETS[secret])) == [SECRETS[secret]]

    @pytest.mark.parametrize("what", AROUND)
    def test_passwords_are_found_by_what_stands_around_them(self, what: str) -> None:
        (secret,) = found_in(AROUND[what])
        assert PASSWORD in secret[:15]
        assert secret.count(PASSWORD) == AROUND[what].count(PASSWORD)

    def test_two_that_follow_one_another_are_two(self) -> None:
        one, two = SECRETS["anthropic key"], SECRETS["github token"]
        assert found_in(f"{one} {one}\n{two},{two}") == [one, one, two, two]

    def test_of_two_that_overlap_one_covers_both(self) -> None:
        token = SECRETS["json web token"]
        assert found_in(f"Authorization: Bearer {token}") == [token]

    @pytest.mark.parametrize("line", ["{}", "     {number}→{}", "{number}\t{}", "+{}", "\\n{}"])
    def test_a_key_that_is_cut_off_is_found_as_far_as_it_goes(self, line: str) -> None:
        lines = SECRETS["rsa key"].splitlines()[:5]
        text = "\n".join(line.format(content, number=number) for number, content in enumerate(lines, 1))
        (secret,) = found_in(text + "\n... and so on")
        assert all(content in secret for content in lines)

    @pytest.mark.parametrize("text", HARMLESS)
    def test_what_is_none_is_none(self, text: str) -> None:
        assert found_in(HARMLESS[text]) == []

    @pytest.mark.parametrize("path", [pytest.param(path, id=path.name) for path in sorted(FIXTURES.rglob("*.json*"))])
    def test_what_agents_recorded_has_none(self, path: Path) -> None:
        lines = path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
        assert [masked(json.loads(line)).secrets for line in lines] == [0] * len(lines)


class TestShapes:
    @pytest.mark.parametrize("shape", [pytest.param(shape, id=f"{number}-{shape.name}") for number, shape in enumerate(_OURS + _theirs())])
    def test_each_can_be_looked_for(self, shape: Shape) -> None:
        assert re.fullmatch(r"[0-9a-z]+(-[0-9a-z]+)*", shape.name)
        assert shape.keywords
        assert all(len(keyword) >= 3 for keyword in shape.keywords)
        assert b"value" in re2.compile(shape.pattern.encode()).groupindex

    def test_whose_they_are_is_said_beside_them(self) -> None:
        folder = files("session_db.capture")
        source = json.loads(folder.joinpath("secret_shapes.json").read_text())["source"]
        assert source in folder.joinpath("secret_shapes.LICENSE").read_text()
        assert "Permission is hereby granted" in folder.joinpath("secret_shapes.LICENSE").read_text()

    def test_who_does_not_look_for_secrets_does_not_load_them(self) -> None:
        code = "import sys, session_db, session_db.capture.drain, session_db.cli.app; print('re2' in sys.modules)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "False"


class TestTime:
    @pytest.mark.parametrize(
        "piece",
        [
            "a", "eyJ.", "/eyJ" + "a" * 20 + ".a.a/", f"-----BEGIN {PRIVATE_KEY}-----", f"-----BEGIN {PRIVATE_KEY}-----\n{'M' * 20} ",
            "Private-Lines: 3\n", f"-----BEGIN {PRIVATE_KEY}-----\n{('M' * 39 + ' ') * 3}\n",
            f"-----BEGIN {PRIVATE_KEY}-----\nComment: x\n",
            "sk-ant-", "sk-T3Blbk" + "FJ", "postgres://a:", "a://b:c@", "://:", "LS0t", "Authorization: Bearer ", "ghp_", "?password=",
            "\\x1b[0",
        ],
    )  # fmt: skip
    def test_it_grows_with_the_length_alone(self, piece: str) -> None:
        def seconds(length: int) -> float:
            text = (piece * (length // len(piece) + 1))[:length].encode()
            # Of this thread alone: what others do on a busy machine does not count.
            began = time.thread_time()
            find_secrets(text)
            return time.thread_time() - began

        seconds(1000)
        short = min(seconds(MIB // 16) for _ in range(3))
        # Sixteen times the text; a search that grows with the square of it takes 256 times as long.
        assert seconds(MIB) < 128 * max(short, 0.002)

    def test_ten_megabytes_that_hold_none_take_no_second(self) -> None:
        text = (Path(__file__).read_text() * 2000)[: 10 * MIB].replace("-----BEGIN", "").replace("://", "").encode()
        _shapes()
        began = time.thread_time()
        find_secrets(text)
        assert time.thread_time() - began < 5
