"""The roster: people, the roles that they have, the public keys that they sign with.

    people:
      - {id: ada, name: Ada Lovelace, roles: [ml-lead], key: ssh-ed25519 AAAA… ada}
      - {id: ben, roles: [trainer, fairness], key: [ssh-ed25519 AAAA… ben, ssh-ed25519 AAAA… ben 2]}

An id and a key stand for one person only, so that a signature says who it was.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from shipworthy.core.errors import InputError, SettingsError, nearest
from shipworthy.core.keys import PublicKey, read_public
from shipworthy.core.locale import text
from shipworthy.core.records import Limit
from shipworthy.core.yaml import Document, Key, load_settings, read_yaml
from shipworthy.team.settings import PersonSettings, TeamSettings

TRAINER = "trainer"
"""Role of the people that train."""


@dataclass(frozen=True)
class Person:
    """Somebody of the team; name is never empty."""

    id: str
    name: str
    roles: tuple[str, ...] = ()
    keys: tuple[PublicKey, ...] = ()


@dataclass(frozen=True)
class Roster:
    """The people of a team file, in its order. file: its path, for messages."""

    people: tuple[Person, ...]
    file: str = ""

    @property
    def roles(self) -> frozenset[str]:
        """All roles that somebody has."""
        return frozenset(role for person in self.people for role in person.roles)

    @property
    def trainers(self) -> frozenset[str]:
        """Ids of those that have the role `trainer`."""
        return frozenset(person.id for person in self.with_role(TRAINER))

    def with_role(self, role: str) -> tuple[Person, ...]:
        """Return those that have a role; none where nobody has it."""
        return tuple(person for person in self.people if role in person.roles)

    def person(self, id: str) -> Person:
        """Return a person by id; raises InputError with the nearest id."""
        for person in self.people:
            if person.id == id:
                return person
        fix = nearest(id, [person.id for person in self.people])
        raise InputError(text("error.team.nobody", file=self.file, person=id, fix=fix))

    def person_of(self, fingerprint: str) -> Person | None:
        """Return whose key this is, by its fingerprint (SHA256:…); None for a foreign key."""
        for person in self.people:
            if any(key.fingerprint == fingerprint for key in person.keys):
                return person
        return None


def load_roster(path: Path | str) -> Roster:
    """Read a team file.

    Raises SettingsError with file, line and key for what does not fit: an unknown key, an id or a
    key that stands twice, a public key that is none.
    """
    document = read_yaml(path)
    settings = load_settings(TeamSettings, document)
    ids: dict[str, int] = {}
    keys: dict[bytes, str] = {}
    people = []
    for place, one in enumerate(settings.people):
        at: tuple[Key, ...] = ("people", place)
        if one.id in ids:
            first = document.line(("people", ids[one.id], "id")) or 0
            problem = text("error.team.id_twice", person=one.id, line=first)
            raise document.error(problem, (*at, "id"))
        ids[one.id] = place
        people.append(Person(one.id, one.name or one.id, one.roles, _keys(one, keys, document, at)))
    return Roster(tuple(people), str(path))


def _keys(
    one: PersonSettings, known: dict[bytes, str], document: Document, at: tuple[Key, ...]
) -> tuple[PublicKey, ...]:
    """Read the keys of one person; known: whose each key is, added to."""
    found = []
    for place, line in enumerate((one.key,) if isinstance(one.key, str) else one.key):
        where = (*at, "key") if isinstance(one.key, str) else (*at, "key", place)
        try:
            key = read_public(line)
        except InputError as error:
            raise document.error(str(error), where) from error
        if key.raw in known:
            problem = text("error.team.key_twice", person=known[key.raw])
            raise document.error(problem, where, fix=text("error.team.key_twice.fix"))
        known[key.raw] = one.id
        found.append(key)
    return tuple(found)


def check_owners(limits: Iterable[Limit], roster: Roster, path: Path | str) -> None:
    """Raise SettingsError for a role that owns a limit of the policy and that nobody has.

    path: of the team file, for the message.
    """
    for limit in limits:
        if limit.owner and limit.owner not in roster.roles:
            raise SettingsError(
                text("error.team.no_owner", role=limit.owner, limit=limit),
                file=path,
                key="people",
                fix=nearest(limit.owner, roster.roles) or text("error.team.no_owner.fix"),
            )
