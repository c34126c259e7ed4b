from django.apps import AppConfig


class ProjectConfig(AppConfig):
    """The composition root as an app, so that its commands and checks are found."""

    name = "cms_project"
    verbose_name = "FastCMS"
