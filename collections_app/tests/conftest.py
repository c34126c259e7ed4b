"""The fixtures are in ``fixtures.py``, which the root conftest loads for every test of the project."""

from collections_app.tests.fixtures import Records, person
from collections_app.tests.web import callers

__all__ = ["Records", "callers", "person"]
