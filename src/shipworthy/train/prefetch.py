"""What the next steps need is laid out while this one is computed."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Generic, TypeVar

T = TypeVar("T")
_POLL_SECONDS = 0.1


class _End:
    """What a thread ends with: nothing more to come, or what went wrong."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


class prefetch(Generic[T]):  # noqa: N801 - used like a function
    """Iterate over `items`, made by a thread that is at most `ahead` of them ahead.

    Items come in their order. What the thread raises is raised here. `close` ends the thread, as
    does the end of the block that this is the context of.
    """

    def __init__(self, items: Iterable[T], *, ahead: int) -> None:
        self._queue: queue.Queue[T | _End] = queue.Queue(maxsize=max(1, ahead))
        self._stopped = threading.Event()
        self._thread = threading.Thread(
            target=self._fill, args=(iter(items),), name="prefetch", daemon=True
        )
        self._thread.start()

    def __enter__(self) -> prefetch[T]:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[T]:
        while True:
            item = self._queue.get()
            if isinstance(item, _End):
                if item.error is not None:
                    raise item.error
                return
            yield item

    def close(self) -> None:
        """End the thread; items that it made are dropped."""
        self._stopped.set()
        with suppress(queue.Empty):
            while True:
                self._queue.get_nowait()
        self._thread.join()

    def _fill(self, items: Iterator[T]) -> None:
        error: BaseException | None = None
        try:
            for item in items:
                if not self._put(item):
                    return
        except BaseException as raised:  # noqa: BLE001 - raised where the items are used
            error = raised
        self._put(_End(error))

    def _put(self, item: T | _End) -> bool:
        while not self._stopped.is_set():
            with suppress(queue.Full):
                self._queue.put(item, timeout=_POLL_SECONDS)
                return True
        return False
