"""The commands ``playlists list|show|set|delete``."""

from typing import Annotated

import typer

from session_db import crud
from session_db.cli.inputs import JSON
from session_db.cli.items import ID, ExpectedVersion, Kind, Metadata, Name, Project, chosen_ids, commands, save
from session_db.models import PlaylistRead, PlaylistUpdate

PLAYLISTS = Kind(
    noun="playlist",
    parts="song_ids",
    to_create="--name NAME --project PROJECT",
    read=PlaylistRead,
    update=PlaylistUpdate,
    get=crud.get_playlist,
    page=crud.list_playlists,
    save=crud.save_playlist,
    delete=crud.delete_playlist,
)
app = commands(PLAYLISTS)


@app.command("set")
def set_(  # noqa: PLR0913, PLR0917  each is an option
    playlist_id: ID,
    name: Name = None,
    project: Project = None,
    song_ids: Annotated[list[str] | None, typer.Option("--song-ids", metavar="ID", help="A song of it; repeat it, in order.")] = None,
    no_song_ids: Annotated[bool, typer.Option("--no-song-ids", help="It has no songs.")] = False,  # noqa: FBT002  a command-line flag
    metadata: Metadata = None,
    expected_version: ExpectedVersion = None,
    as_json: JSON = False,  # noqa: FBT002  a command-line flag
) -> None:
    """Create a playlist, or change what is given of it."""

    def given() -> dict[str, object]:
        ids = chosen_ids(song_ids, none=no_song_ids, option="song-ids")
        return {"name": name, "project_id": project, "song_ids": ids, "metadata": metadata}

    save(PLAYLISTS, playlist_id, given, expected_version, as_json=as_json)
