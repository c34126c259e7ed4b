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
        from collections_app import builtin, dialects, event_bell, event_retention, events
        from collections_app import consistency as consistency_of_collections
        from collections_app import restored as restored_collections
        from collections_app.auth import realm
        from collections_app.auth import tokens as record_tokens
        from collections_app.files import staging, uses
        from collections_app.io import options as import_options
        from collections_app.jobs import services as jobs
        from collections_app.schema import consistency as consistency_of_tables
        from collections_app.schema import naming
        from core import background, consistency, restored
        from settings_app import signals as settings_signals

        connection_created.connect(dialects.prepare_sqlite_connection, dispatch_uid="collections.sqlite_functions")
        events.appended.connect(event_bell.tell_others, dispatch_uid="collections.tell_others")
        settings_signals.changed.connect(event_bell.tell_others, dispatch_uid="collections.tell_others_of_settings")
        event_retention.declare_settings()
        import_options.declare_settings()
        jobs.declare_settings()
        staging.declare_settings()
        background.register(event_retention.TASK, "collections_app.tasks.trim_events", every=3600)
        background.register(uses.TASK, "collections_app.tasks.remove_files", every=3600)
        background.register(jobs.TASK, "collections_app.tasks.run_jobs", every=15)
        restored.register(
            "collections", restored_collections.settle, restored_collections.present, restored_collections.check
        )
        consistency.register("tables of collections", consistency_of_tables.check)
        consistency.register("rules", consistency_of_collections.check_rules)
        consistency.register("values", consistency_of_collections.check_values)
        consistency.register("files", consistency_of_collections.check_files)
        consistency.register("log of events", consistency_of_collections.check_log)
        api_keys.know(naming)
        realms.register(realm.find)
        tokens.register_resolver(record_tokens.AUDIENCE, record_tokens.resolve)
        post_migrate.connect(builtin.ensure_builtin, sender=self, dispatch_uid="collections.builtin")
