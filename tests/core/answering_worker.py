"""A worker for `test_launch.py`: does as it is told, then misbehaves as it is told."""

import os
import sys
import time

from shipworthy.core.errors import DataError
from shipworthy.core.launch import answer


def add(a, b):
    print("a library that prints to stdout")
    os.system("echo a child that prints to stdout")
    return a + b


def refuse():
    raise DataError("is empty", file="rows.csv")


def fail():
    print("first I tell", file=sys.stderr)
    raise RuntimeError("then I break")


def die():
    os._exit(7)


def dwell(seconds):
    time.sleep(seconds)
    return os.getpid()


if __name__ == "__main__":
    answer({f.__name__: f for f in (add, refuse, fail, die, dwell)})
