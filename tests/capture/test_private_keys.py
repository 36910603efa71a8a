"""Private keys: found with all their lines, however somebody printed them."""

import json
from typing import Any

import pytest

from session_db.capture.redaction import _masked, _masked_json
from session_db.capture.secret_shapes import find_secrets
from tests.capture.fake_secrets import PUTTY_KEY, SECRETS, letters

LINES = SECRETS["rsa key"].splitlines()
BODY = LINES[1:-1]
HEADERS = ["Proc-Type: 4,ENCRYPTED", "DEK-Info: AES-256-CBC," + letters("iv", 32, "0123456789ABCDEF"), ""]
PRINTED = {
    "as it is": "{}",
    "by grep": "/home/dev/a-project/keys/server-key.pem:{number}:{}",
    "indented": " " * 28 + "{}",
    "with numbers": "     {number}\u2192{}",
    "as lines of a list": "  '{}',",
    "added in a diff": "+{}",
    "removed in a diff": "-{}",
    "quoted in a mail": "> {}",
}


def without_secrets(text: str) -> str:
    raw = text.encode()
    for secret in reversed(find_secrets(raw)):
        raw = raw[: secret.start] + b"#" + raw[secret.end :]
    return raw.decode()


def printed(lines: list[str], way: str, line_end: str) -> str:
    return line_end.join(PRINTED[way].format(line, number=number) for number, line in enumerate(lines, 1))


class TestInTexts:
    @pytest.mark.parametrize("line_end", ["\n", "\\n"], ids=["lines", "lines written out"])
    @pytest.mark.parametrize("way", PRINTED)
    @pytest.mark.parametrize("lines", [LINES, LINES[:5], LINES[:1] + HEADERS + LINES[1:5]], ids=["whole", "cut off", "encrypted, cut off"])
    def test_no_line_is_left_and_what_follows_is(self, lines: list[str], way: str, line_end: str) -> None:
        rest = without_secrets(printed(lines, way, line_end) + f"{line_end}and so on here")
        assert not any(line in rest for line in [*BODY, *HEADERS[:2]])
        assert rest.endswith("and so on here")

    @pytest.mark.parametrize("way", ["as it is", "by grep"])
    def test_a_short_last_line_is_masked_where_the_text_ends_in_it(self, way: str) -> None:
        lines = [*LINES[:3], BODY[4][:20]]
        assert BODY[4][:20] not in without_secrets(printed(lines, way, "\n"))

    def test_one_of_putty_is_masked_and_its_public_half_stays(self) -> None:
        rest = without_secrets(PUTTY_KEY)
        assert rest.startswith(PUTTY_KEY.partition("Private-Lines")[0])
        assert not any(line in rest for line in PUTTY_KEY.partition("Private-Lines")[2].splitlines()[1:3])

    def test_words_about_keys_mask_nothing_that_follows(self) -> None:
        text = f"It begins with {LINES[0]} and then\nsee the commit\n{letters('sha', 40, '0123456789abcdef')}"
        assert without_secrets(text) == text


class TestInLists:
    @pytest.mark.parametrize("mark", ["+", "-", " "])
    @pytest.mark.parametrize("lines", [LINES, LINES[:6]], ids=["whole", "cut off"])
    def test_no_line_of_an_edit_is_left(self, mark: str, lines: list[str]) -> None:
        patch = ["  before = 1", *[mark + line for line in lines], "  after = 2"]
        value: Any = {"structuredPatch": [{"oldStart": 1, "lines": patch}], "uuid": letters("id", 40)}
        masked, count = _masked(value)
        (hunk,) = masked["structuredPatch"]
        assert count == 1
        assert not any(line in str(masked) for line in BODY)
        assert (hunk["lines"][0], hunk["lines"][-1], len(hunk["lines"])) == (patch[0], patch[-1], len(patch))
        assert masked["uuid"] == value["uuid"]
        assert json.loads(_masked_json(json.dumps(value)).value) == masked

    def test_what_stands_elsewhere_is_no_line_of_it(self) -> None:
        value = {"a": LINES[:3], "b": letters("other", 64), "c": [[letters("one", 64)], letters("two", 64)]}
        masked, count = _masked(value)
        assert (masked["b"], masked["c"], count) == (value["b"], value["c"], 1)

    def test_short_lines_between_do_not_end_it(self) -> None:
        masked, _ = _masked([LINES[0], "", "+", *BODY])
        assert not any(line in str(masked) for line in BODY)
