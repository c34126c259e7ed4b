from django.apps import AppConfig


class SettingsAppConfig(AppConfig):
    """Room of the runtime settings and themes."""

    name = "settings_app"
    verbose_name = "Settings"

    def ready(self) -> None:
        from settings_app import declared, following, registry
        from settings_app.themes import selectors

        declared.declare_settings()
        following.follow()
        registry.declare(selectors.setting())
