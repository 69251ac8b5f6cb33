"""Settings of a team file: the project key `team:` names it."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Role = Annotated[str, Field(pattern=r"^\S(.{0,62}\S)?$")]


class PersonSettings(BaseModel):
    """One of the people."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    id: str = Field(pattern=r"^\w[\w.-]{0,63}$")
    """Short name, unique in the team: letters, digits, `.`, `_` and `-`, at most 64. Reports and
    ledgers carry it."""

    name: str = Field("", max_length=100)
    """Name for people; the id where it is left out."""

    roles: tuple[Role, ...] = ()
    """What this person answers for, in the words that the `owner` of a limit uses. Who has the role
    `trainer` counts as one that trained."""

    key: str | tuple[str, ...] = ()
    """The public key that this person signs with (`ssh-ed25519 AAAA… comment`), or a list of them.
    Without one a person cannot sign."""


class TeamSettings(BaseModel):
    """A team file."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    people: tuple[PersonSettings, ...] = Field(min_length=1)
    """Everybody who may sign, waive or train; at least one."""
