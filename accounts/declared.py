"""The settings of accounts that can change while the server runs."""

from __future__ import annotations

from settings_app.registry import Setting, declare

OPEN, INVITE_ONLY, CLOSED = "OPEN", "INVITE_ONLY", "CLOSED"


def declare_settings() -> None:
    declare(
        Setting(
            "registration_mode",
            "string",
            OPEN,
            "security",
            "Who may make an account: everybody (OPEN), who is invited (INVITE_ONLY), nobody (CLOSED).",
            choices=(OPEN, INVITE_ONLY, CLOSED),
        ),
        Setting(
            "allow_registration",
            "boolean",
            True,
            "security",
            "Whether accounts can be made at all; false is the same as registration_mode CLOSED.",
        ),
    )
