from django.apps import AppConfig
from django.contrib.admin import apps as admin_apps


class AccountsConfig(AppConfig):
    """Who is asking: users, roles, tokens, principals."""

    name = "accounts"
    default = True


class AdminSiteConfig(admin_apps.AdminConfig):
    """``django.contrib.admin`` with a set-up page while no account exists."""

    default = False
    default_site = "accounts.admin_site.CMSAdminSite"
