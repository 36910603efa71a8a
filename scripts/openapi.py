#!/usr/bin/env python3
"""Write the OpenAPI document of the service to docs/reference/openapi.json."""

import json
from pathlib import Path

from session_db.server import create_app

DOCUMENT = Path(__file__).parents[1] / "docs" / "reference" / "openapi.json"


def written() -> str:
    """Return the document as the file has it."""
    return json.dumps(create_app().openapi(), indent=1) + "\n"


if __name__ == "__main__":
    DOCUMENT.write_text(written())
