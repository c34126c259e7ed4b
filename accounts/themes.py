"""The theme of each account: its own choice while that can be chosen, else the site's."""

from __future__ import annotations

from typing import Any

from accounts import user_changes
from accounts.models import ThemePreference
from accounts.principals import STAFF_COLLECTION, Principal
from core.errors import ValidationFailed
from settings_app.themes import selectors
from settings_app.themes.models import Theme

NOT_AVAILABLE = "This theme is not available."


def preference(principal: Principal, user_id: str) -> tuple[Theme | None, Theme | None]:
    """What the account has chosen, and what holds for it. Raises as :func:`user_changes.see`."""
    chosen = _chosen(user_changes.see(principal, user_id).account_id)
    return chosen, chosen or selectors.current()


def prefer(principal: Principal, user_id: str, theme_id: str | None) -> tuple[Theme | None, Theme | None]:
    """Choose a theme for an account, None for the site's; answers as :func:`preference`. Raises
    NotFound for an unknown theme, ValidationFailed for one that is not available."""
    account = user_changes.see(principal, user_id)
    mine: dict[str, Any] = {"realm": STAFF_COLLECTION, "account_id": account.account_id}
    if theme_id is None:
        ThemePreference.objects.filter(**mine).delete()
    else:
        theme = selectors.find(theme_id, admin=principal.is_admin)
        if not theme.is_active:
            raise ValidationFailed(fields={"theme_id": [NOT_AVAILABLE]})
        ThemePreference.objects.update_or_create(**mine, defaults={"theme": theme})
    return preference(principal, user_id)


def _chosen(account_id: str) -> Theme | None:
    rows = ThemePreference.objects.filter(realm=STAFF_COLLECTION, account_id=account_id, theme__is_active=True)
    found = rows.select_related("theme").first()
    return found.theme if found else None
