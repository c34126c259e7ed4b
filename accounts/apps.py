from django.apps import AppConfig
from django.contrib.admin import apps as admin_apps
from django.contrib.auth.signals import user_logged_in


class AccountsConfig(AppConfig):
    """Who is asking: users, roles, tokens, principals."""

    name = "accounts"
    default = True

    def ready(self) -> None:
        from accounts import api_keys, declared, mailing, realms, sessions, sweeping, tokens, users
        from accounts import emails as emails  # which knows what the mails' templates need
        from accounts import restored as restored_accounts
        from core import background, restored

        realms.register(users.find)
        tokens.register_resolver(tokens.API_KEY_PREFIX, api_keys.resolve)
        declared.declare_settings()
        background.register(mailing.TASK, "accounts.tasks.send_mails", every=10)
        background.register(sweeping.TASK, "accounts.tasks.sweep", every=3600)
        restored.register("accounts", restored_accounts.settle, restored_accounts.present)
        user_logged_in.connect(sessions.ask_for_second_factor, dispatch_uid="accounts.second_factor")
        user_logged_in.connect(sessions.sweep, dispatch_uid="accounts.sweep_sessions")


class AdminSiteConfig(admin_apps.AdminConfig):
    """``django.contrib.admin`` with a set-up page while no account exists."""

    default = False
    default_site = "accounts.admin_site.CMSAdminSite"
