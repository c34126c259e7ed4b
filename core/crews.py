"""Threads for work that others must not wait for."""

from __future__ import annotations

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

_STEPS_BACK = 10  # of niceness: of two threads that want one processor, this one gets a tenth


def in_the_back(size: int, name: str) -> ThreadPoolExecutor:
    """A crew for long work: its threads step back behind those that answer quick requests.

    Linux knows the priority of a thread; elsewhere they are threads like all others.
    """
    return ThreadPoolExecutor(size, name, initializer=_step_back if sys.platform == "linux" else None)


def _step_back() -> None:
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _STEPS_BACK)
