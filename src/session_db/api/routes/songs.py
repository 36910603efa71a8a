"""Songs."""

from session_db import crud
from session_db.api.routes.items import Kind, router_of
from session_db.models import SongCreate, SongRead, SongUpdate

router = router_of(
    Kind(
        noun="song",
        read=SongRead,
        creation=SongCreate,
        update=SongUpdate,
        create=crud.create_song,
        get=crud.get_song,
        page=crud.list_songs,
        change=crud.update_song,
        delete=crud.delete_song,
    )
)
