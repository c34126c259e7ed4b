"""The tables of accounts. Those besides ``users`` name an account by its realm and id."""

from accounts.models.api_keys import ApiKey
from accounts.models.identities import ExternalIdentity
from accounts.models.invites import Invite
from accounts.models.mails import Mail
from accounts.models.one_time import Challenge, OneTimeToken, SetupToken
from accounts.models.preferences import ThemePreference
from accounts.models.sign_ins import SignIn
from accounts.models.two_factor import SecondFactor
from accounts.models.users import Role, User, UserManager, credential_stamp, new_token_key, normalise_email

__all__ = [
    "ApiKey",
    "Challenge",
    "ExternalIdentity",
    "Invite",
    "Mail",
    "OneTimeToken",
    "Role",
    "SecondFactor",
    "SetupToken",
    "SignIn",
    "ThemePreference",
    "User",
    "UserManager",
    "credential_stamp",
    "new_token_key",
    "normalise_email",
]
