"""The public keys that somebody who verifies trusts, from files of their own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from shipworthy.core.errors import InputError
from shipworthy.core.keys import PublicKey, public_of
from shipworthy.core.locale import text


@dataclass(frozen=True)
class Trusted:
    """Keys that count. owners: to each the id of its person, "" where the source names none."""

    owners: Mapping[PublicKey, str]

    def __contains__(self, key: PublicKey) -> bool:
        """Say whether a key is trusted."""
        return key in self.owners


def load_trusted(path: Path | str) -> Trusted:
    """Read keys from a folder of `.pub` files, one such file, or a team file.

    Raises InputError where there is none or one of them is no ed25519 public key.
    """
    place = Path(path).expanduser()
    if not place.exists():
        raise InputError(text("error.verify.keys_absent", path=path))
    if place.is_dir():
        owners = {public_of(file): "" for file in sorted(place.glob("*.pub"))}
    elif place.suffix in (".yaml", ".yml"):
        from shipworthy.team.roster import load_roster

        people = load_roster(place).people
        owners = {key: person.id for person in people for key in person.keys}
    else:
        owners = {public_of(place): ""}
    if not owners:
        raise InputError(text("error.verify.no_keys", path=place))
    return Trusted(owners)
