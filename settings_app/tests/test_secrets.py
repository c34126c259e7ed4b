"""Settings that nobody is shown: encrypted at rest, in no answer, kept by asterisks, gone with another SECRET_KEY."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from settings_app import registry, seen, services, values
from settings_app.models import CmsSetting
from settings_app.registry import Setting

pytestmark = [pytest.mark.django_db, pytest.mark.engine]
SETTINGS, CMS = "/api/v1/settings", "/api/cms/settings"
PLAIN = "hunter2-ünseen"


@pytest.fixture
def client(admin, as_user):
    return as_user(admin)


@pytest.fixture(autouse=True)
def key(monkeypatch):
    monkeypatch.setitem(registry.known, "door", Setting("door", "string", "", "app", "What opens it", secret=True))


def entry(answer: Any) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in answer.json() if one["key"] == "door")
    return found


def stored() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM cms_settings")
        return repr(cursor.fetchall())


def test_a_secret_is_encrypted_at_rest_and_in_no_answer(client):
    made = client.post(SETTINGS, {"key": "door", "value": PLAIN})
    told = client.put(f"{CMS}/door", {"value": PLAIN, "type": "string"})
    changed = client.patch(SETTINGS, {"door": PLAIN})
    answers = [made, told, changed, client.get(SETTINGS), client.get(f"{SETTINGS}/app"), client.get(CMS)]
    answers += [client.get(f"{CMS}/door"), client.get(f"{CMS}/category/app")]
    assert {answer.status_code for answer in answers} == {200}
    assert not any("hunter2" in answer.content.decode() for answer in answers)
    assert "hunter2" not in stored() and "door" in stored()
    assert values.get("door") == PLAIN
    found = entry(client.get(SETTINGS))
    assert (found["value"], found["secret"], found["is_set"]) == ("********", True, True)
    assert client.get(f"{CMS}/door").json()["data"]["setting_value"] == "********"


def test_one_that_is_not_set_says_so(client):
    found = entry(client.get(SETTINGS))
    assert (found["value"], found["is_set"]) == (None, False)
    assert client.get(f"{CMS}/door").json()["data"]["setting_value"] == ""


def test_one_that_the_environment_sets_is_told_as_set_and_not_shown(client, monkeypatch):
    monkeypatch.setitem(
        registry.known, "door", Setting("door", "string", lambda: PLAIN, "app", "What opens it", secret=True)
    )
    found = entry(client.get(SETTINGS))
    assert (found["value"], found["is_set"]) == ("********", True) and values.get("door") == PLAIN


@pytest.mark.parametrize("mask", ["********", "*", "*" * 40])
def test_asterisks_sent_back_leave_it_as_it_is(client, mask):
    client.post(SETTINGS, {"key": "door", "value": PLAIN})
    before = CmsSetting.objects.values().get()
    assert client.post(SETTINGS, {"key": "door", "value": mask}).status_code == 200
    assert client.put(f"{CMS}/door", {"value": mask}).status_code == 200
    assert client.patch(SETTINGS, {"door": mask}).status_code == 200
    assert CmsSetting.objects.values().get() == before and values.get("door") == PLAIN


def test_asterisks_for_what_was_never_set_set_nothing(client):
    assert client.post(SETTINGS, {"key": "door", "value": "***"}).json()["is_set"] is False
    assert client.post(SETTINGS, {"key": "mine", "value": "***", "secret": True}).status_code == 422
    assert not CmsSetting.objects.exists()


def test_a_key_of_ones_own_can_be_secret_until_it_is_deleted(client):
    body = {"key": "stripe_key", "value": PLAIN, "secret": True}
    assert client.post(SETTINGS, body).json()["value"] == "********"
    again = client.post(SETTINGS, {"key": "stripe_key", "value": "hunter3"}).json()
    assert again["secret"] is True and "hunter" not in str(client.get(SETTINGS).json()) + stored()
    assert client.post(SETTINGS, {**body, "value": 5}).status_code == 422
    assert client.delete(f"{SETTINGS}/stripe_key").status_code == 200
    assert client.post(SETTINGS, {"key": "stripe_key", "value": "open"}).json()["value"] == "open"


def test_a_refused_value_is_not_said_again(client):
    answer = client.post(SETTINGS, {"key": "door", "value": {"nested": PLAIN}})
    assert answer.status_code == 422 and "hunter2" not in answer.content.decode()
    assert client.post(SETTINGS, {"key": "door", "value": f"{PLAIN}\n"}).status_code == 422
    assert not CmsSetting.objects.exists()


def test_with_another_secret_key_it_counts_as_not_set_and_can_be_set_again(client, settings, caplog, as_user, admin):
    services.put("door", PLAIN, by="")
    settings.SECRET_KEY = "another-key-" * 5
    anew = as_user(admin)
    with caplog.at_level(logging.ERROR, "fastcms.settings"):
        assert values.get("door") == ""
    assert "SECRET_KEY" in caplog.text and "door" in caplog.text and "hunter2" not in caplog.text
    assert entry(anew.get(SETTINGS))["is_set"] is False
    anew.post(SETTINGS, {"key": "door", "value": "new"})
    assert values.get("door") == "new"


def test_the_picture_of_a_process_holds_no_secret(django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        services.put("door", PLAIN, by="")
    try:
        assert seen.value("door") == ""
    finally:
        seen.forget()


def test_what_was_set_before_the_key_was_known_to_be_secret_is_not_shown_either(client):
    CmsSetting.objects.create(key="door", value=PLAIN, category="email", type="string")
    answers = [client.get(SETTINGS), client.get(f"{SETTINGS}/email"), client.get(CMS), client.get(f"{CMS}/door")]
    assert not any("hunter2" in answer.content.decode() for answer in answers)
    assert entry(client.get(SETTINGS))["is_set"] is True and values.get("door") == PLAIN
    client.post(SETTINGS, {"key": "door", "value": "new one"})
    assert "new one" not in stored() and values.get("door") == "new one"


def test_the_page_of_a_refused_form_does_not_say_it_again(admin):
    browser = Client()
    browser.force_login(admin)
    form = {"key": "door", "value": f'"{PLAIN}"', "category": "not a category"}
    page = browser.post(SETTINGS, form, headers={"accept": "text/html"})
    assert page.status_code == 422 and "hunter2" not in page.content.decode()


def test_the_log_says_who_changed_what_and_no_value(admin, client, caplog, django_capture_on_commit_callbacks):
    try:
        with caplog.at_level(logging.INFO), django_capture_on_commit_callbacks(execute=True):
            client.post(SETTINGS, {"key": "door", "value": PLAIN})
            client.delete(f"{SETTINGS}/door")
    finally:
        seen.forget()
    lines = [record.getMessage() for record in caplog.records if record.name == "fastcms.settings"]
    assert lines == [f"setting door was set by {admin.pk}", f"setting door was forgotten by {admin.pk}"]
    assert "hunter2" not in caplog.text
