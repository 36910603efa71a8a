"""The doctor: what is well with the service's machine, its server and its tables."""

from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, Field

from session_db.api.dependencies import needs
from session_db.doctor.checks import Check, State
from session_db.doctor.examining import shown_settings

router = APIRouter(tags=["operations"])


class CheckRead(BaseModel):
    """One finding."""

    name: str = Field(description="What was checked.", examples=["counters"])
    state: State = Field(description="Whether all is well.")
    found: str = Field(description="What was found.")
    remedy: str | None = Field(description="What to do about it; null: nothing.")


class SettingRead(BaseModel):
    """A setting of the service."""

    value: Any = Field(description="Its value; that of a secret is masked.")
    origin: str = Field(alias="from", description="Where it is from.", examples=["environment SESSION_DB_URL"])


class Examined(BaseModel):
    """What an examination found, and the settings of the service."""

    checks: list[CheckRead] = Field(description="Each check, in the order they were made.")
    settings: dict[str, SettingRead] = Field(description="Each setting by its name.")


@router.get("/api/doctor", response_model=Examined, dependencies=[needs("admin")])
async def get_doctor(request: Request) -> dict[str, Any]:
    """Check settings, server, tables and capture as `session-db doctor` does, on the service's machine, and say what to do.

    It may take seconds; who asks while an examination goes on is told what that one finds. Nothing is set right: `session-db doctor --fix`
    does what is safe.
    """
    checks: list[Check] = await request.app.state.examinations.checks()
    return {"checks": [CheckRead.model_validate(check, from_attributes=True) for check in checks], "settings": shown_settings()}
