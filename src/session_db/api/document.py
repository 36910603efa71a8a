"""What the OpenAPI document says beyond the routes: problem documents, and which answer leads to which route."""

import re
from typing import Any

from session_db.api.errors import Problem

_REFERENCES = "#/components/schemas/{model}"

_LEADS_TO: dict[str, dict[str, str]] = {
    "create_session": {"session_id": "$response.body#/session_id"},
    "create_agent": {"session_id": "$request.path.session_id", "agent_id": "$response.body#/id"},
    "create_memory_file": {"session_id": "$request.path.session_id", "file_id": "$response.body#/id"},
    "append_events": {"session_id": "$request.path.session_id", "event": "$response.body#/events/0/id"},
    "create_clip": {"clip_id": "$response.body#/clip_id"},
    "create_song": {"song_id": "$response.body#/song_id"},
    "create_playlist": {"playlist_id": "$response.body#/playlist_id"},
    "create_token": {"token_id": "$response.body#/id"},
}
"""By the route that makes something: the parameters of the paths that lead to it."""


def complete(document: dict[str, Any]) -> dict[str, Any]:
    """Add the schemas of problem documents, and to each answer that makes something links to the routes of what it made."""
    problem = Problem.model_json_schema(ref_template=_REFERENCES)
    document["components"]["schemas"] |= problem.pop("$defs") | {"Problem": problem}
    operations = [(path, operation) for path, methods in document["paths"].items() for operation in methods.values()]
    for _, operation in operations:
        parameters = _LEADS_TO.get(operation["operationId"])
        if parameters:
            operation["responses"]["201"]["links"] = {
                target["operationId"]: {"operationId": target["operationId"], "parameters": parameters}
                for path, target in operations
                if set(re.findall(r"\{(\w+)\}", path)) == parameters.keys()
            }
    return document
