"""Live: writers tell after their commits which sessions changed, and readers wait for it.

A notification is a hint, and so is its absence: readers go by the heads that the hub reads, and it also looks by itself now and then.
"""

from session_db.live.changes import note_changed
from session_db.live.heads import Head
from session_db.live.hub import Hub, get_hub
from session_db.live.readers import Follower, Lagged, Stopping, Watcher

__all__ = ["Follower", "Head", "Hub", "Lagged", "Stopping", "Watcher", "get_hub", "note_changed"]
