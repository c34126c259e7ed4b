"""The settings of accounts that can change while the server runs."""

from __future__ import annotations

from accounts import mail_server
from accounts.oauth import providers
from settings_app.registry import Setting, declare

DEFAULT_ROLE = "default_user_role"
OPEN, INVITE_ONLY, CLOSED = "OPEN", "INVITE_ONLY", "CLOSED"


def declare_settings() -> None:
    mail_server.declare_settings()
    providers.declare_settings()
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
        Setting(
            DEFAULT_ROLE,
            "string",
            "user",
            "security",
            "What an account becomes where registration is by invitation and the invitation gives no more.",
            choices=("user", "admin"),
            guarded=True,
        ),
    )
