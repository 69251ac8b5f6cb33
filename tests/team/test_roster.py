"""Team files: what they say, and what is wrong with them, by line."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import shipworthy.team
from shipworthy.core.errors import InputError, SettingsError
from shipworthy.core.keys import PublicKey
from shipworthy.core.locale import set_language
from shipworthy.core.records import Limit
from shipworthy.team import PersonSettings, TeamSettings, check_owners, load_roster

ADA, BEN, CY = (PublicKey(bytes([k]) * 32, name) for k, name in ((1, "ada"), (2, "ben"), (3, "cy")))
TEAM = f"""people:
  - id: ada
    name: Ada Lovelace
    roles: [ml-lead, platform]
    key: {ADA.text}
  - id: ben
    roles: [trainer]
    key: [{BEN.text}, {CY.text}]
  - {{id: 李雷, roles: [trainer, fairness]}}
"""


@pytest.fixture(autouse=True)
def english():
    set_language("en")
    yield
    set_language(None)


def team(folder: Path, content: str = TEAM) -> Path:
    path = folder / "team.yaml"
    path.write_text(content, encoding="utf-8")
    return path


def test_a_roster_says_who_has_which_role_and_key(tmp_path: Path) -> None:
    roster = load_roster(team(tmp_path))
    assert [p.id for p in roster.people] == ["ada", "ben", "李雷"]
    assert [p.name for p in roster.people] == ["Ada Lovelace", "ben", "李雷"]
    assert roster.roles == {"ml-lead", "platform", "trainer", "fairness"}
    assert roster.trainers == {"ben", "李雷"}
    assert [p.id for p in roster.with_role("platform")] == ["ada"]
    assert roster.with_role("nobody's") == ()
    for key, owner in ((ADA, "ada"), (BEN, "ben"), (CY, "ben")):
        found = roster.person_of(key.fingerprint)
        assert found is not None and found.id == owner
    assert roster.person_of(PublicKey(bytes(32)).fingerprint) is None
    assert roster.person("李雷").keys == ()
    with pytest.raises(InputError, match=r"nobody has the id 'adda'; did you mean 'ada'\?"):
        roster.person("adda")


@pytest.mark.parametrize(
    ("before", "after", "line", "key", "said"),
    [
        ("id: ben", "id: ada", 6, "people[1].id", "somebody else already (line 2)"),
        (BEN.text, ADA.text, 8, "people[1].key[0]", "already that of 'ada'"),
        (CY.text, BEN.text, 8, "people[1].key[1]", "already that of 'ben'"),
        (ADA.text, "ssh-rsa AAAAB3NzaC1yc2E", 5, "people[0].key", "ssh-rsa cannot be used"),
        (ADA.text, ADA.text[:40], 5, "people[0].key", "is not a public key"),
        (ADA.text, "ada.pub", 5, "people[0].key", "is not a public key"),
        (ADA.text, "'-----BEGIN OPENSSH PRIVATE KEY-----'", 5, "people[0].key", "remove it"),
        (f"key: {ADA.text}", "key: 7", 5, "people[0].key", "needs text"),
        ("name: Ada", "nane: Ada", 3, "people[0].nane", "did you mean 'name'?"),
        ("people:", "staff: 3\npeople:", 1, "staff", "unknown key"),
        ("id: ada", "id: ada lovelace", 2, "people[0].id", "pattern"),
        ("roles: [ml-lead, platform]", "roles: ml-lead", 4, "people[0].roles", "needs a list"),
        ("- id: ada\n    name", "- name", 2, "people[0].id", "is missing"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named_by_line_and_key(
    before: str, after: str, line: int, key: str, said: str, tmp_path: Path
) -> None:
    path = team(tmp_path, TEAM.replace(before, after, 1))
    with pytest.raises(SettingsError) as caught:
        load_roster(path)
    assert (caught.value.file, caught.value.line, caught.value.key) == (str(path), line, key)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_of_people_none_of_whom_fits_the_first_problem_is_said(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="people.0..rolls: unknown key; did you mean 'roles'"):
        load_roster(team(tmp_path, "people:\n  - {id: ada, rolls: [ml-lead]}\n"))


@pytest.mark.parametrize("content", ["", "people: []\n", "- id: ada\n", "people:\n"])
def test_a_team_without_people_is_none(content: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError):
        load_roster(team(tmp_path, content))


def test_an_absent_team_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        load_roster(tmp_path / "team.yaml")
    with pytest.raises(SettingsError, match="cannot be read"):
        load_roster(tmp_path)


def test_a_role_that_nobody_has_is_named_with_the_nearest(tmp_path: Path) -> None:
    path = team(tmp_path)
    roster = load_roster(path)
    owned = Limit("accuracy", "at_least", 0.8, owner="ml-lead")
    free = Limit("accuracy", "at_least", 0.8)
    check_owners((owned, free), roster, path)
    lost = Limit("accuracy", "at_least", 0.8, owner="fairnes")
    with pytest.raises(SettingsError) as caught:
        check_owners((owned, lost), roster, path)
    said = str(caught.value)
    assert said.startswith(f"{path}, people: nobody has the role 'fairnes'")
    assert "did you mean 'fairness'?" in said
    set_language("zh")
    with pytest.raises(SettingsError, match="'fairnes' 无人担任"):
        check_owners((lost,), roster, path)


@given(
    st.lists(
        st.tuples(st.binary(min_size=32, max_size=32), st.integers(0, 3)),
        min_size=1,
        unique_by=lambda pair: pair[0],
    )
)
def test_every_key_belongs_to_exactly_one_person(tmp_path_factory, pairs) -> None:
    keys, owners = [PublicKey(raw) for raw, _ in pairs], [owner for _, owner in pairs]
    lines = ["people:"]
    for person in range(4):
        own = ", ".join(k.text for k, o in zip(keys, owners, strict=True) if o == person)
        lines.append(f"  - {{id: p{person}, key: [{own}]}}")
    roster = load_roster(team(tmp_path_factory.mktemp("team"), "\n".join(lines)))
    for key, owner in zip(keys, owners, strict=True):
        found = roster.person_of(key.fingerprint)
        assert found is not None and found.id == f"p{owner}"


def test_the_room_exports_what_it_says() -> None:
    assert sorted(shipworthy.team.__all__) == shipworthy.team.__all__
    for name in shipworthy.team.__all__:
        assert getattr(shipworthy.team, name).__module__.startswith("shipworthy.team.")
    with pytest.raises(AttributeError):
        shipworthy.team.__getattr__("nothing")


@pytest.mark.parametrize("settings", [PersonSettings, TeamSettings])
def test_every_key_says_what_it_means(settings: type) -> None:
    assert all(field.description for field in settings.model_fields.values())


def test_every_key_of_the_team_file_is_on_its_page() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs/team.md").read_text("utf-8")
    rows = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    assert rows == list(PersonSettings.model_fields)
