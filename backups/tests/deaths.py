"""Backups whose process dies at a point, for the program in ``collections_app.tests.other_process``."""

from __future__ import annotations

import os
import resource
import signal
from typing import Any

from backups import leasing, services, storage


def backup(die: str, number: int = 1) -> str:
    """Make a backup and die by SIGKILL: at the n-th ``step``, or ``before`` or ``after`` the archive has its name."""
    left = [number]
    reach, put = leasing.Lease.reach, storage.put

    def step(lease: leasing.Lease, share: float) -> None:
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
        reach(lease, share)

    def named(*given: Any) -> None:
        if die == "after":
            put(*given)
        os.kill(os.getpid(), signal.SIGKILL)

    if die == "step":
        leasing.Lease.reach = step  # type: ignore[method-assign]
    else:
        storage.put = named
    return services.create("dying").filename


def backup_with_little_room(most: int) -> str:
    """Make a backup where no file may have more than so many bytes, which is what a full disk is to who writes."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))
    return services.create("cramped").filename
