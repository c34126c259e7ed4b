"""The picture that a process has of the settings: taken anew when one has changed, and for little when none has."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from core import clock
from settings_app import seen, services
from settings_app.models import CmsSetting

pytestmark = [pytest.mark.django_db, pytest.mark.engine]


@pytest.fixture(autouse=True)
def looked() -> Iterator[None]:
    services.put("app_name", "Shop", by="")
    seen.look()
    yield
    seen.forget()


def test_a_commit_that_changed_no_setting_costs_one_question_and_checks_no_value(
    django_assert_num_queries, monkeypatch
) -> None:
    monkeypatch.setattr(seen.values, "overrides", lambda keys: pytest.fail("the values were read"))
    with django_assert_num_queries(1):
        seen.look_if_changed()
    assert seen.value("app_name") == "Shop"


def test_what_is_set_changed_or_removed_is_seen() -> None:
    services.put("site_name", "Site", by="")
    services.put("app_name", "Store", by="")
    seen.look_if_changed()
    assert (seen.value("site_name"), seen.value("app_name")) == ("Site", "Store")
    services.remove("site_name")
    seen.look_if_changed()
    assert seen.chosen("site_name") is None and seen.value("app_name") == "Store"


def test_what_was_set_first_and_committed_last_is_seen() -> None:
    services.put("site_name", "Site", by="")
    seen.look_if_changed()
    CmsSetting.objects.filter(key="app_name").update(value="Store", updated_at=clock.now() - timedelta(hours=1))
    seen.look_if_changed()
    assert seen.value("app_name") == "Store"


def test_what_was_forgotten_is_looked_for_again() -> None:
    seen.forget()
    seen.look_if_changed()
    assert seen.value("app_name") == "Shop"
