"""The database session as a FastAPI dependency."""

from typing import Annotated

from fastapi import Depends

from session_db.database.unit_of_work import UnitOfWork, get_session

# FastAPI ends a dependency after the answer was sent, unless its scope is the function: a commit that fails then would still say 201.
DatabaseSession = Annotated[UnitOfWork, Depends(get_session, scope="function")]
