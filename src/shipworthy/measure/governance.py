"""The eight items of data governance in Article 10(2) of the EU AI Act, as people filled them in.

Regulation (EU) 2024/1689, Article 10(2)(a) to (h). The words are the people's; here it is only read
which items are there.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from shipworthy.core.errors import nearest
from shipworthy.core.locale import text
from shipworthy.core.yaml import read_yaml

ITEMS = (
    "design_choices", "collection", "preparation", "assumptions", "availability",
    "bias_examination", "bias_measures", "gaps",
)  # fmt: skip
"""Keys of the file, in the order of the letters (a) to (h)."""


def read_governance(path: Path | str) -> Mapping[str, str]:
    """Return the text of each item, "" where it is left empty.

    Raises SettingsError with file and line for another key and for a value that is no text.
    """
    document = read_yaml(path)
    data = {} if document.data is None else document.data
    if not isinstance(data, dict):
        raise document.error(text("error.governance.form"))
    for key, value in data.items():
        if key not in ITEMS:
            problem, fix = text("error.governance.key"), nearest(str(key), ITEMS)
            raise document.error(problem, [key], fix=fix)
        if value is not None and not isinstance(value, str):
            raise document.error(text("error.governance.text"), [key])
    return {item: (data.get(item) or "").strip() for item in ITEMS}
