"""Answers of servers, by the digest of what was asked; one file for several threads and processes.

An answer is there whole or not at all: the file goes on after a kill with all that was written
before. Only a loss of power may take its last answers along, never more than those.
"""

from __future__ import annotations

import sqlite3
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from shipworthy.core.digest import digest_json
from shipworthy.core.errors import InputError
from shipworthy.core.locale import text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOCK_SECONDS = 60.0
"""Seconds that another process may hold the file before that is an error."""


def question(url: str, path: str, body: dict[str, Any]) -> str:
    """Return the key of an answer: the sha256 of where and what is asked, the model included."""
    return digest_json([url, path, body])


class AnswerCache:
    """Answers as text, written once and never changed.

    path: file; made with its folders where there is none.
    Raises InputError, here and in each method, where the file cannot be used.
    """

    def __init__(self, path: Path) -> None:
        """Open the file."""
        self.path = path
        self._lock = threading.Lock()
        with self._named():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._base = sqlite3.connect(path, timeout=LOCK_SECONDS, check_same_thread=False)
            # Appending to a log that is synced now and then takes 0.1 ms, a sync each time 2 ms.
            self._base.execute("PRAGMA journal_mode=WAL")
            self._base.execute("PRAGMA synchronous=NORMAL")
            columns = "key TEXT PRIMARY KEY, said TEXT"
            self._base.execute(f"CREATE TABLE IF NOT EXISTS answers ({columns})")
            self._base.commit()

    def __del__(self) -> None:
        self.close()

    def __contains__(self, key: str) -> bool:
        return self.get(key) is not None

    def get(self, key: str) -> str | None:
        """Return an answer, None where there is none."""
        with self._lock, self._named():
            row = self._base.execute("SELECT said FROM answers WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def put(self, key: str, said: str) -> None:
        """Write an answer down; one that is there already stays."""
        with self._lock, self._named():
            self._base.execute("INSERT OR IGNORE INTO answers VALUES (?, ?)", (key, said))
            self._base.commit()

    def close(self) -> None:
        """Close the file."""
        if hasattr(self, "_base"):
            self._base.close()

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Name the file in what SQLite and the system complain about."""
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            raise InputError(text("error.endpoint.cache", path=self.path, reason=error)) from error
