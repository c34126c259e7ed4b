"""The Celery application: ``celery -A cms_project worker``, ``celery -A cms_project beat``."""

import os

from celery import Celery

from core import background

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cms_project.settings")

app = Celery("cms_project")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@app.on_after_finalize.connect
def make_rounds(sender: Celery, **kwargs: object) -> None:
    """What ``celery beat`` calls: what the thread of ``serve`` does without a broker."""
    for name, task in background.tasks.items():
        sender.add_periodic_task(task.every, sender.signature(name), name=name, expires=task.every)
