"""The page of the settings in the admin: the same rules, and no secret on it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client

from settings_app import registry, services, values
from settings_app.models import CmsSetting

pytestmark = [pytest.mark.django_db, pytest.mark.engine]
PAGE = "/admin/settings_app/cmssetting/"


def office(user: Any) -> Client:
    browser = Client()
    browser.force_login(user)
    return browser


def filled(browser: Client, **changes: Any) -> dict[str, Any]:
    """What a browser sends of the page, with some fields changed; None leaves one out."""
    form = browser.get(PAGE).context["form"]
    sent = {name: form[name].value() for name in form.fields if not form.fields[name].disabled}
    sent = {name: "on" if value is True else value for name, value in sent.items() if value not in (False, None)}
    return {name: value for name, value in {**sent, **changes}.items() if value is not None}


def test_the_page_shows_every_declared_setting_and_changes_those_that_were_changed(superadmin):
    browser = office(superadmin)
    page = browser.get(PAGE)
    assert page.status_code == 200
    assert all(f'name="{key}"' in page.content.decode() for key in registry.known)
    assert browser.post(PAGE, filled(browser)).status_code == 302 and not CmsSetting.objects.exists()
    sent = filled(
        browser, site_name="<b>Shop</b>", maintenance_mode="on", enable_search=None, pagination_size="25",
        smtp_host="mail.example", smtp_password="hunter2-x",
    )  # fmt: skip
    assert browser.post(PAGE, sent).status_code == 302
    assert values.several("site_name", "maintenance_mode", "enable_search", "pagination_size", "smtp_password") == {
        "site_name": "<b>Shop</b>", "maintenance_mode": True, "enable_search": False, "pagination_size": 25,
        "smtp_password": "hunter2-x",
    }  # fmt: skip
    assert set(CmsSetting.objects.values_list("updated_by", flat=True)) == {str(superadmin.pk)}
    page = browser.get(PAGE).content.decode()
    assert "hunter2" not in page and "<b>Shop" not in page and "&lt;b&gt;Shop" in page
    before = list(CmsSetting.objects.values())
    assert browser.post(PAGE, filled(browser)).status_code == 302
    assert list(CmsSetting.objects.values()) == before and values.get("smtp_password") == "hunter2-x"


def test_a_setting_goes_back_to_its_default(superadmin):
    services.put("site_name", "Shop", by="")
    browser = office(superadmin)
    assert browser.post(PAGE, filled(browser, **{"reset:site_name": "on"})).status_code == 302
    assert not CmsSetting.objects.exists()


@pytest.mark.parametrize(
    "bad",
    [
        {"site_name": " "}, {"site_name": "a\nb"}, {"pagination_size": "0"}, {"pagination_size": "x"},
        {"registration_mode": "SOMETIMES"}, {"smtp_host": "a b"}, {"site_description": "x" * 1001},
    ],
)  # fmt: skip
def test_what_can_not_be_changes_nothing(superadmin, bad):
    browser = office(superadmin)
    page = browser.post(PAGE, filled(browser, api_rate_limit="7", **bad))
    assert page.status_code == 422 and "errorlist" in page.content.decode()
    assert not CmsSetting.objects.exists()


def test_an_admin_changes_there_what_an_admin_may(admin):
    services.put("smtp_host", "good.example", by="")
    browser = office(admin)
    page = browser.get(PAGE).content.decode()
    assert re.search(r'name="smtp_host"[^>]*disabled', page) and 'name="reset:smtp_host"' not in page
    sent = filled(browser, site_name="Shop") | {"smtp_host": "evil.example", "reset:smtp_host": "on"}
    assert browser.post(PAGE, sent).status_code == 302
    assert (values.get("site_name"), values.get("smtp_host")) == ("Shop", "good.example")


def test_nobody_else_sees_it_and_there_is_no_other_page(member, admin, client):
    services.put("mine", "hunter2", by="", secret=True)
    services.put("plain", "<i>x</i>", by="")
    assert client.get(PAGE).status_code == 302
    assert office(member).get(PAGE).status_code == 302
    browser = office(admin)
    row = CmsSetting.objects.get(key="mine")
    for path in (f"{PAGE}{row.pk}/change/", f"{PAGE}{row.pk}/history/", f"{PAGE}{row.pk}/delete/", f"{PAGE}add/"):
        assert browser.get(path).status_code == 403, path
    page = browser.get(PAGE).content.decode()
    assert "hunter2" not in page and "&lt;i&gt;x" in page
    assert Client(enforce_csrf_checks=True).post(PAGE, {"site_name": "x"}).status_code in (302, 403)
    assert CmsSetting.objects.count() == 2
