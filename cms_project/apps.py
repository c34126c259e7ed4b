from django.apps import AppConfig
from django.core import checks

from cms_project import production


class ProjectConfig(AppConfig):
    """The composition root as an app, so that its commands and checks are found."""

    name = "cms_project"
    verbose_name = "FastCMS"

    def ready(self) -> None:
        checks.register(production.check)
