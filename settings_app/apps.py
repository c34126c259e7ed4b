from django.apps import AppConfig


class SettingsAppConfig(AppConfig):
    """Room of the runtime settings and themes."""

    name = "settings_app"
    verbose_name = "Settings"

    def ready(self) -> None:
        from core import consistency
        from settings_app import consistency as consistency_of_settings
        from settings_app import declared, following, registry
        from settings_app.themes import selectors

        declared.declare_settings()
        following.follow()
        registry.declare(selectors.setting())
        consistency.register("themes", consistency_of_settings.check)
