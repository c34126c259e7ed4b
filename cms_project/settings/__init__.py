"""Django's settings, split by subject; values come from the environment (see environment.py)."""

from cms_project.settings.api import *  # noqa: F403
from cms_project.settings.base import *  # noqa: F403
from cms_project.settings.database import *  # noqa: F403
from cms_project.settings.logs import *  # noqa: F403
from cms_project.settings.mail import *  # noqa: F403
from cms_project.settings.realtime import *  # noqa: F403
from cms_project.settings.services import *  # noqa: F403
from cms_project.settings.storage import *  # noqa: F403
