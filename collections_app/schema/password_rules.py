"""What passwords of an auth collection must be: ``options: {"password": {…}}``.

| key | what |
|---|---|
| ``min_length`` | 8 (the default) to 128 |
| ``max_length`` | up to 128 (the default) |
| ``reject_common`` | whether the 20,000 most common passwords are refused; by default as the settings say |
| ``reject_numeric`` | whether digits alone are refused; true by default |
| ``reject_similar`` | whether what looks like the e-mail address or the name is refused; true by default |
| ``require`` | which of ``lower``, ``upper``, ``digit``, ``symbol`` must occur |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib.auth import password_validation
from django.core.exceptions import ValidationError
from rest_framework import serializers

from accounts import passwords
from accounts.models import User
from collections_app.schema.fields import HashedPassword, InvalidValue

if TYPE_CHECKING:
    from collections_app.schema.definition import CollectionDef
    from collections_app.schema.reading import Problems

MIN_LENGTH, MAX_LENGTH = 8, passwords.MAX_LENGTH
FLAGS = ("reject_common", "reject_numeric", "reject_similar")
KINDS: dict[str, tuple[Callable[[str], bool], str]] = {
    "lower": (str.islower, "a lowercase letter"),
    "upper": (str.isupper, "an uppercase letter"),
    "digit": (str.isdigit, "a digit"),
    "symbol": (lambda character: not character.isalnum() and not character.isspace(), "a symbol"),
}


class LengthValidator:
    """Refuses passwords with more characters than the collection takes."""

    def __init__(self, max_length: int) -> None:
        self.max_length = max_length

    def validate(self, password: str, user: Any = None) -> None:
        if len(password) > self.max_length:
            raise ValidationError(
                f"This password is too long. It must contain at most {self.max_length} characters.",
                code="password_too_long",
            )

    def get_help_text(self) -> str:
        return f"Your password must contain at most {self.max_length} characters."


class CharactersValidator:
    """Refuses passwords without the kinds of characters that the collection asks for."""

    def __init__(self, kinds: Sequence[str]) -> None:
        self.kinds = kinds

    def validate(self, password: str, user: Any = None) -> None:
        missing = [KINDS[kind][1] for kind in self.kinds if not any(map(KINDS[kind][0], password))]
        if missing:
            raise ValidationError(
                f"This password must contain {' and '.join(missing)}.", code="password_lacks_characters"
            )

    def get_help_text(self) -> str:
        return f"Your password must contain {' and '.join(KINDS[kind][1] for kind in self.kinds)}."


def read(raw: Any, problems: Problems) -> dict[str, Any]:
    """The rules as they are stored; adds what is wrong to ``problems``."""
    if not isinstance(raw, Mapping):
        problems.add("options", "password must be an object.")
        return {}
    rules = {key: value for key, value in raw.items() if value is not None}
    lengths = {"min_length": MIN_LENGTH, "max_length": MAX_LENGTH}
    for key, value in rules.items():
        if key in lengths:
            if isinstance(value, bool) or not isinstance(value, int) or not MIN_LENGTH <= value <= MAX_LENGTH:
                problems.add("options", f"password: {key} must be a number from {MIN_LENGTH} to {MAX_LENGTH}.")
            else:
                lengths[key] = value
        elif key in FLAGS:
            if not isinstance(value, bool):
                problems.add("options", f"password: {key} must be true or false.")
        elif key == "require":
            if not isinstance(value, list) or not all(isinstance(kind, str) and kind in KINDS for kind in value):
                problems.add("options", f"password: require must be a list of {', '.join(KINDS)}.")
        else:
            known = ", ".join([*lengths, *FLAGS, "require"])
            problems.add("options", f"password: unknown rule {str(key)[:50]!r}; known: {known}.")
    if lengths["min_length"] > lengths["max_length"]:
        problems.add("options", "password: min_length is above max_length.")
    return rules


def check(collection: CollectionDef, password: str, about: Mapping[str, Any]) -> None:
    """InvalidValue with every reason against the password; ``about`` has what else the account is to hold."""
    told = {
        "email": about.get("email"),
        "username": about.get("username"),
        "first_name": about.get("name"),
    }
    account = User(**{name: value for name, value in told.items() if isinstance(value, str)})
    try:
        passwords.acceptable(password, account, _validators(collection))
    except serializers.ValidationError as fault:
        raise InvalidValue(*map(str, fault.detail)) from fault


def sentences(collection: CollectionDef) -> list[str]:
    """The rules, to be read before a password is chosen."""
    return list(password_validation.password_validators_help_texts(_validators(collection)))


def check_given(collection: CollectionDef, given: Any, about: Mapping[str, Any]) -> None:
    """As :func:`check`, for what a client sent; what is no text, or no password yet, has no rules to follow."""
    password = given.plain if isinstance(given, HashedPassword) else given
    if isinstance(password, str) and password:
        check(collection, password, about)


def _validators(collection: CollectionDef) -> list[Any] | None:
    rules = collection.options.get("password")
    if not rules:
        return None
    found: list[Any] | None = collection.memo.get("password validators")
    if found is None:
        found = [password_validation.MinimumLengthValidator(rules.get("min_length", MIN_LENGTH))]
        found.append(LengthValidator(rules.get("max_length", MAX_LENGTH)))
        if rules.get("reject_similar", True):
            found.append(password_validation.UserAttributeSimilarityValidator())
        if rules.get("reject_numeric", True):
            found.append(password_validation.NumericPasswordValidator())
        if rules.get("reject_common", settings.PASSWORD_REJECT_COMMON):
            found.append(password_validation.CommonPasswordValidator())
        if rules.get("require"):
            found.append(CharactersValidator(rules["require"]))
        collection.memo["password validators"] = found
    return found
