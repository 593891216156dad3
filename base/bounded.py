"""Bound the memory that clients can fill: a dict with a largest size."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class Bounded(OrderedDict[Key, Value]):
    """Keep the `most` entries that were written last. Any thread may write."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most
        self._writing = threading.Lock()

    def __setitem__(self, key: Key, value: Value) -> None:
        with self._writing:
            super().__setitem__(key, value)
            self.move_to_end(key)
            while len(self) > self.most:
                self._forget(*self.popitem(last=False))

    def _forget(self, key: Key, value: Value) -> None:
        """Handle an entry that is pushed out."""
