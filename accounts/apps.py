from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """Who is asking: users, roles, tokens, principals."""

    name = "accounts"
