"""The heart: collections, rules, records."""

from __future__ import annotations

from django.apps import AppConfig
from django.db.backends.signals import connection_created
from django.db.models.signals import post_migrate


class CollectionsConfig(AppConfig):
    name = "collections_app"
    verbose_name = "Collections"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        from accounts import api_keys, realms, tokens
        from collections_app import builtin, dialects
        from collections_app.auth import realm
        from collections_app.auth import tokens as record_tokens
        from collections_app.schema import naming

        connection_created.connect(dialects.prepare_sqlite_connection, dispatch_uid="collections.sqlite_functions")
        api_keys.know(naming)
        realms.register(realm.find)
        tokens.register_resolver(record_tokens.AUDIENCE, record_tokens.resolve)
        post_migrate.connect(builtin.ensure_builtin, sender=self, dispatch_uid="collections.builtin")
