#!/usr/bin/env python3
"""Take the shapes of secrets from CredSweeper: ``scripts/secret_shapes.py 1.19.5`` writes those of that version, and its licence.

Its rules are written for Python's ``re``. RE2 knows no look-around, so what must not stand behind a secret is asked for as another
character or the end; and a large upper limit, which would make a large machine, is none.
"""

import json
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import yaml

CAPTURE = Path(__file__).parent.parent / "src" / "session_db" / "capture"
SHAPES = CAPTURE / "secret_shapes.json"
LICENSE = CAPTURE / "secret_shapes.LICENSE"

# Names of things, which open nothing.
NO_SECRETS = {"AWS S3 Bucket", "Facebook App Token", "Firebase Domain", "Tencent WeChat API App ID", "Twilio Credentials", "UUID"}
# Any base64 looks like these; CredSweeper decodes what it finds, and looks into it.
NEEDS_A_SECOND_LOOK = {"BASE64 Private Key", "Basic Authorization", "Grafana Provisioned API Key", "JSON Web Key"}
# Their shapes are clear, and their confidence is low because CredSweeper cannot tell that they are real.
CLEAR_ALL_THE_SAME = {"Google OAuth Refresh Token", "Netlify Token", "Vercel Token"}

# What their rules lack: names of packages, hosts and folders look like these, too.
AMENDED: dict[str, dict[str, object]] = {
    "NPM Token": {"harmless": r"[^0-9]*|npm_(?:config|lifecycle|node|package)_.*"},
    "PASERK Keys": {"begins_word": True},
    "PASETO Token": {"begins_word": True},
    "Slack Token": {"begins_word": True, "harmless": r"[^0-9]*|xapp-[^0-9].*"},
}
# CredSweeper leaves out shorter lines; the shortest of these tokens has 32 bytes, in base64.
TOO_SHORT = {"PASERK Keys", "PASETO Token"}

MIN_KEYWORD = 3
"""Characters of a keyword; shorter ones stand in every text, and a rule without a longer one would be tried on all of them."""

BEFORE = r"(?:^|/|[^\\0-9A-Za-z+_-]|\\[0abfnrtv]|(?:%|\\x)[0-9A-Fa-f]{2}|\\[0-7]{3}|\\[Uu][0-9A-Fa-f]{4}|\x1B\[[0-9;]{0,80}m)"
"""What many of their rules begin with; ours knows more that stands before a word."""

BEHIND = re.compile(r"\(\?!(\[\^?(?:\\.|[^\]])*\])\)$")
COUNT = re.compile(r"\{(\d+),(\d+)\}")
MAX_COUNT = 100


def main(version: str) -> None:
    """Write the shapes and the licence of a version."""
    rules, license_text = published(version)
    shapes = [shape(rule) for rule in rules if is_wanted(rule)]
    lines = ",\n".join(json.dumps(each, ensure_ascii=True) for each in sorted(filter(None, shapes), key=lambda each: str(each["name"])))
    SHAPES.write_text(f'{{"source": "CredSweeper {version}", "license": "MIT", "shapes": [\n{lines}\n]}}\n')
    LICENSE.write_text(f"secret_shapes.json is made from the rules of CredSweeper {version}. Their licence:\n\n{license_text}")


def published(version: str) -> tuple[list[dict[str, Any]], str]:
    """Return the rules and the licence of a version, as its package has them."""
    with tempfile.TemporaryDirectory() as folder:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, f"credsweeper=={version}"]
        subprocess.run(pip, check=True)  # noqa: S603 - our own pip.
        with zipfile.ZipFile(next(Path(folder).glob("*.whl"))) as package:
            named = {name.rpartition("/")[2]: name for name in package.namelist() if "rules/config.yaml" in name or "LICENSE" in name}
            return yaml.safe_load(package.read(named["config.yaml"])), package.read(named["LICENSE"]).decode()


def is_wanted(rule: dict[str, Any]) -> bool:
    """Say whether what a rule finds is a secret by its shape alone."""
    if rule["type"] != "pattern" or "code" not in rule["target"] or rule.get("use_ml") or not keywords(rule):
        return False
    is_clear = rule["confidence"] != "weak" or rule["name"] in CLEAR_ALL_THE_SAME
    return is_clear and rule["name"] not in NO_SECRETS | NEEDS_A_SECOND_LOOK


def keywords(rule: dict[str, Any]) -> list[str]:
    """Return texts of which one stands in every secret that a rule finds."""
    return sorted(word for word in rule.get("required_substrings", []) if len(word) >= MIN_KEYWORD)


def shape(rule: dict[str, Any]) -> dict[str, object] | None:
    """Return a rule as a shape, or None where RE2 cannot say it."""
    (pattern,) = rule["values"]
    begins_word = pattern.startswith(BEFORE)
    pattern = pattern.removeprefix(BEFORE)
    if rule["name"] in TOO_SHORT:
        pattern = pattern.replace("{15,", "{40,")
    pattern = BEHIND.sub(lambda found: f"(?:{found[1].replace('[', '[^', 1)}|$)", pattern)
    pattern = COUNT.sub(lambda found: f"{{{found[1]},}}" if int(found[2]) >= MAX_COUNT else found[0], pattern)
    if re.search(r"\(\?(=|!|<=|<!|\()", pattern):
        print(f"left out: {rule['name']}")  # noqa: T201 - whoever takes a new version reads it.
        return None
    name = re.sub(r"[^a-z0-9]+", "-", rule["name"].lower()).strip("-")
    word = {"begins_word": True} if begins_word else {}
    return {"name": name, "keywords": keywords(rule), "pattern": pattern} | word | AMENDED.get(rule["name"], {})


if __name__ == "__main__":
    main(sys.argv[1])
