"""Secrets at rest can be read again with the same key, and with no other."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.fernet import InvalidToken

from core import secret_box

# As second factors were stored before others used the box.
KEY = "k" * 50
STORED = "gAAAAABrAho6wPnLW6PC90xf2QM4MVqBb4CJoYNf7bxifuJVbPdAJXWCQDZ2D9wkZtUgXcIb6MXOKem4Nj6zuMIuaTSPeL8PigCnPg5AVpzjpAwKad-pUQU="


def test_what_was_sealed_is_read_again() -> None:
    sealed = secret_box.seal("whsec_ä")
    assert "whsec" not in sealed and secret_box.unseal(sealed) == "whsec_ä"
    assert secret_box.seal("whsec_ä") != sealed


def test_what_was_stored_by_an_earlier_version_is_still_read(settings: Any) -> None:
    settings.SECRET_KEY = KEY
    assert secret_box.unseal(STORED) == "JBSWY3DPEHPK3PXP"


def test_another_key_reads_nothing(settings: Any) -> None:
    sealed = secret_box.seal("s")
    settings.SECRET_KEY = "another" * 8
    with pytest.raises(InvalidToken):
        secret_box.unseal(sealed)
