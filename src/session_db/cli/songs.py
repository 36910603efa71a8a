"""The commands ``songs list|show|set|delete``."""

from typing import Annotated

import typer

from session_db import crud
from session_db.cli.inputs import JSON
from session_db.cli.items import ID, ExpectedVersion, Kind, Metadata, Name, Project, chosen_ids, commands, save
from session_db.models import SongRead, SongUpdate

SONGS = Kind(
    noun="song",
    parts="clip_ids",
    to_create="--name NAME --project PROJECT",
    read=SongRead,
    update=SongUpdate,
    get=crud.get_song,
    page=crud.list_songs,
    save=crud.save_song,
    delete=crud.delete_song,
)
app = commands(SONGS)


@app.command("set")
def set_(  # noqa: PLR0913, PLR0917  each is an option
    song_id: ID,
    name: Name = None,
    project: Project = None,
    clip_ids: Annotated[list[str] | None, typer.Option("--clip-ids", metavar="ID", help="A clip of it; repeat it, in order.")] = None,
    no_clip_ids: Annotated[bool, typer.Option("--no-clip-ids", help="It has no clips.")] = False,  # noqa: FBT002  a command-line flag
    metadata: Metadata = None,
    expected_version: ExpectedVersion = None,
    as_json: JSON = False,  # noqa: FBT002  a command-line flag
) -> None:
    """Create a song, or change what is given of it."""

    def given() -> dict[str, object]:
        ids = chosen_ids(clip_ids, none=no_clip_ids, option="clip-ids")
        return {"name": name, "project_id": project, "clip_ids": ids, "metadata": metadata}

    save(SONGS, song_id, given, expected_version, as_json=as_json)
