"""Playlists."""

from session_db import crud
from session_db.api.routes.items import Kind, router_of
from session_db.models import PlaylistCreate, PlaylistRead, PlaylistUpdate

router = router_of(
    Kind(
        noun="playlist",
        read=PlaylistRead,
        creation=PlaylistCreate,
        update=PlaylistUpdate,
        create=crud.create_playlist,
        get=crud.get_playlist,
        page=crud.list_playlists,
        change=crud.update_playlist,
        delete=crud.delete_playlist,
    )
)
