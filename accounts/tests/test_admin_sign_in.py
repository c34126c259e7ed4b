"""The admin by browser: nobody is in with a password only where the account asks for a code."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.contrib import auth
from django.contrib.sessions.models import Session
from django.core import mail
from django.test import Client, RequestFactory

from accounts import mailing, second_step, tokens, totp, two_factor
from accounts.models import Challenge, Mail, SignIn, User
from accounts.sessions import SecondFactorNeeded
from core import clock

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.engine]

PASSWORD = "correct-horse-battery"
LOGIN, CODE, INSIDE = "/admin/login/", "/admin/login/code/", "/admin/accounts/user/"


@pytest.fixture
def guarded(admin: User) -> User:
    two_factor.enable(admin)
    mailing.send_due()
    mail.outbox.clear()
    return admin


@pytest.fixture
def browser() -> Client:
    return Client()


def give_password(browser: Client, name: str = "admin", **more: str):
    return browser.post(LOGIN, {"username": name, "password": PASSWORD, **more})


def mailed_code() -> str:
    mailing.send_due()
    return re.search(r"^ +(\d{6})$", mail.outbox[-1].body, re.MULTILINE)[1]


def is_in(browser: Client) -> bool:
    """Whether neither the admin nor the API takes this browser for a stranger."""
    page, me = browser.get(INSIDE).status_code, browser.get("/api/v1/auth/me").status_code
    assert (page, me) in ((200, 200), (302, 401))
    return page == 200


def test_who_has_forgotten_the_password_is_led_to_a_new_one(browser, admin):
    page = browser.get(LOGIN).content.decode()
    [link] = re.findall(r'<a href="([^"]+)">Forgot your password\?</a>', page)
    asked = browser.get(link)
    assert asked.status_code == 200 and 'name="email"' in asked.content.decode()


# --- the two steps ---------------------------------------------------------------------------


def test_the_code_of_the_mail_opens_the_admin_where_the_browser_was_going(guarded, browser):
    asked = give_password(browser, next=INSIDE)
    assert asked.status_code == 302 and asked.headers["Location"] == CODE
    assert not is_in(browser)
    page = browser.get(CODE)
    assert page.status_code == 200 and b"Check your mail" in page.content
    assert b"ad\xe2\x80\xa2\xe2\x80\xa2\xe2\x80\xa2@example.com" in page.content
    assert "no-store" in page.headers["Cache-Control"]
    before = browser.session.session_key
    done = browser.post(CODE, {"code": mailed_code()})
    assert done.status_code == 302 and done.headers["Location"] == INSIDE
    assert is_in(browser) and browser.session.session_key != before
    assert not Challenge.objects.exists()
    assert browser.get(CODE).headers["Location"].startswith(LOGIN)


def test_an_account_without_a_second_factor_enters_at_once(admin, browser):
    assert give_password(browser).headers["Location"] == "/admin/"
    assert is_in(browser)


def test_a_code_may_be_written_with_a_space(guarded, browser):
    give_password(browser)
    code = mailed_code()
    assert browser.post(CODE, {"code": f" {code[:3]} {code[3:]} "}).status_code == 302
    assert is_in(browser)


def test_the_app_and_its_recovery_codes_open_it_too(admin, browser, monkeypatch):
    told = totp.begin(admin)
    now = clock.now()
    monkeypatch.setattr(clock, "now", lambda: now)

    def code(off: int = 0) -> str:
        return totp.app.format_hotp_value(totp.app.hotp_value(told.secret, int(now.timestamp()) // 30 + off))

    recovery_codes = two_factor.confirm_app(admin, code(-1))
    give_password(browser)
    page = browser.get(CODE).content
    assert b"Your authenticator app shows" in page and b"Send another" not in page and b"@example.com" not in page
    assert browser.post(CODE, {"code": code(-1)}).status_code == 401  # it set the app up
    assert browser.post(CODE, {"code": code()}).status_code == 302
    assert is_in(browser)
    other = Client()
    give_password(other)
    assert b"Recovery code" in other.get(CODE + "?recovery").content
    assert other.post(CODE + "?recovery", {"code": recovery_codes[0]}).status_code == 302
    assert is_in(other)
    assert browser.post("/admin/logout/").status_code == 200 and not is_in(browser)
    give_password(browser)
    assert browser.post(CODE, {"code": recovery_codes[0]}).status_code == 401 and not is_in(browser)


@pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example", "javascript:alert(1)", ""])
def test_it_leads_to_no_other_site(guarded, browser, target):
    give_password(browser, next=target)
    assert browser.post(CODE, {"code": mailed_code()}).headers["Location"] == "/admin/"


# --- no way around ---------------------------------------------------------------------------


def test_a_password_alone_opens_nothing_by_any_path(guarded, browser):
    for path in (LOGIN, "/admin/login", f"{LOGIN}?next={INSIDE}", f"{INSIDE}?next={INSIDE}", "/admin", CODE):
        for name in ("admin", guarded.email):
            browser.post(path, {"username": name, "password": PASSWORD, "next": INSIDE})
            assert not is_in(browser), path
            browser.post(CODE, {"username": name, "password": PASSWORD})
            assert not is_in(browser), path
    assert not SignIn.objects.exists()


def test_every_way_to_open_a_session_asks_for_the_code(guarded):
    """Whatever calls Django's ``login``: a view of Django's, of a library, of tomorrow."""
    assert auth.authenticate(username="admin", password=PASSWORD) == guarded  # a password check, no way in
    browser = Client()
    with pytest.raises(SecondFactorNeeded):
        browser.login(username="admin", password=PASSWORD)
    with pytest.raises(SecondFactorNeeded):
        browser.force_login(guarded)
    assert not is_in(browser)

    browser.get(LOGIN)
    request = RequestFactory().post("/anywhere")
    request.session = Client().session
    with pytest.raises(SecondFactorNeeded):
        auth.login(request, guarded, backend="accounts.backends.AccountBackend")
    assert request.user.is_anonymous and auth.get_user(request).is_anonymous
    assert not any("_auth_user_id" in session.get_decoded() for session in Session.objects.all())


def test_a_code_is_good_in_the_browser_that_gave_the_password_only(guarded, browser, anonymous):
    give_password(browser)
    code = mailed_code()
    thief = Client()
    assert thief.post(CODE, {"code": code}).headers["Location"].startswith(LOGIN) and not is_in(thief)
    by_api = anonymous.post("/api/v1/auth/verify-2fa", {"user_id": str(guarded.pk), "code": code})
    assert by_api.status_code == 401
    assert Challenge.objects.get().attempts == 0 and not SignIn.objects.exists()
    browser.post(CODE, {"code": code})
    assert is_in(browser)


def test_a_challenge_of_the_api_opens_no_session(guarded, browser, anonymous):
    give_password(browser)
    anonymous.post("/api/v1/auth/login", {"username": "admin", "password": PASSWORD})
    code = mailed_code()
    assert browser.post(CODE, {"code": code}).headers["Location"].startswith(LOGIN)
    assert not is_in(browser)


def test_five_tries_and_the_password_is_asked_again(guarded, browser):
    give_password(browser, next=INSIDE)
    code = mailed_code()
    wrong = f"{(int(code) + 1) % 1_000_000:06}"
    for left in (4, 3, 2, 1):
        page = browser.post(CODE, {"code": wrong})
        assert page.status_code == 401 and f"{left}&nbsp;tr".encode() in page.content
    last = browser.post(CODE, {"code": wrong})
    assert last.status_code == 302 and last.headers["Location"] == f"{LOGIN}?next=%2Fadmin%2Faccounts%2Fuser%2F"
    assert b"too many tries" in browser.get(last.headers["Location"]).content
    assert browser.post(CODE, {"code": code}).status_code == 302 and not is_in(browser)
    give_password(browser)
    browser.post(CODE, {"code": mailed_code()})
    assert is_in(browser)


def test_who_guesses_on_has_to_wait(guarded, browser):
    for _ in range(5):
        give_password(browser)
        for _ in range(5):
            browser.post(CODE, {"code": "badbad"})
    answer = give_password(browser)
    assert answer.headers["Location"].startswith(LOGIN)
    assert b"Too many wrong codes" in browser.get(answer.headers["Location"]).content
    assert not is_in(browser)


@pytest.mark.parametrize("what", ["time", "password", "disabled", "off"])
def test_what_ends_a_challenge_ends_the_second_step(guarded, browser, what):
    give_password(browser)
    code = mailed_code()
    if what == "time":
        Challenge.objects.update(expires=clock.now() - timedelta(seconds=1))
    elif what == "password":
        guarded.set_password("another-staple-7")
        guarded.save()
    elif what == "disabled":
        guarded.is_active = False
        guarded.save()
    else:
        two_factor.disable(guarded, PASSWORD)
    assert browser.post(CODE, {"code": code}).status_code in (302, 401)
    assert not is_in(browser)


def test_members_are_refused_before_any_code_is_mailed(member, browser):
    two_factor.enable(member)
    mailing.send_due()
    assert give_password(browser, "member").status_code == 200
    assert not Mail.objects.exists() and not Challenge.objects.exists()


def test_the_forms_are_good_from_this_site_only(guarded):
    browser = Client(enforce_csrf_checks=True)
    assert give_password(browser).status_code == 403
    assert browser.post(CODE, {"code": "123456"}).status_code == 403
    assert not Challenge.objects.exists()


def test_the_session_holds_no_secret(guarded, browser):
    give_password(browser)
    assert set(browser.session["second_step"]) == {"challenge", "by_mail", "next"}
    assert browser.session["second_step"]["challenge"] == str(Challenge.objects.get().pk)


# --- another code, and sessions that were open -------------------------------------------------


def test_another_code_ends_the_one_before(guarded, browser):
    give_password(browser)
    first = mailed_code()
    early = browser.post(CODE, {"resend": "1"})
    assert early.status_code == 429 and b"Please wait" in early.content and not Mail.objects.exists()
    Challenge.objects.update(sent=clock.now() - timedelta(seconds=31))
    answer = browser.post(CODE, {"resend": "1"}, follow=True)
    assert answer.status_code == 200 and b"A new code is on its way" in answer.content
    assert browser.post(CODE, {"code": first}).status_code == 401
    assert browser.post(CODE, {"code": mailed_code()}).status_code == 302
    assert is_in(browser)


def test_after_three_more_the_button_is_gone(guarded, browser):
    give_password(browser)
    Challenge.objects.update(resends=3, sent=clock.now() - timedelta(minutes=1))
    assert b"Send another code" not in browser.get(CODE).content
    assert browser.post(CODE, {"resend": "1"}).status_code == 429


def test_turning_it_on_or_off_ends_the_other_sessions(admin, as_user):
    here, there = Client(), Client()
    give_password(here)
    give_password(there)
    assert here.post("/api/v1/auth/enable-2fa", content_type="application/json").status_code == 200
    assert is_in(here) and not is_in(there)
    assert here.post("/api/v1/auth/disable-2fa", {"password": PASSWORD}).status_code == 200
    assert is_in(here)
    admin.refresh_from_db()
    assert as_user(admin).post("/api/v1/auth/enable-2fa").status_code == 200
    assert not is_in(here)


def test_a_session_is_still_a_way_to_change_the_password_once_the_code_was_shown(guarded, browser):
    give_password(browser)
    browser.post(CODE, {"code": mailed_code()})
    change = {"current_password": PASSWORD, "new_password": "another-staple-7"}
    answer = browser.post("/api/v1/auth/change-password", change)
    assert answer.status_code == 200 and not is_in(browser)
    assert tokens.principal_from_token(answer.json()["access_token"]).email == guarded.email


@pytest.mark.parametrize(("email", "hint"), [("a@b.de", "a•••@b.de"), ("anna@example.com", "an•••@example.com")])
def test_the_page_hints_at_the_mailbox(email, hint):
    assert second_step._hint(email) == hint


# --- who has lost their phone ----------------------------------------------------------------


def test_an_admin_lets_somebody_in_who_has_lost_their_phone(superadmin, member, browser):
    two_factor.confirm_app(member, _first_code(member))
    mailing.send_due()
    give_password(browser, "superadmin")
    form = {"action": "turn_off_second_factor", "_selected_action": [str(member.pk)]}
    answer = browser.post(INSIDE, form, follow=True)
    assert b"The second factor of member@example.com is off" in answer.content
    member.refresh_from_db()
    assert not member.two_fa_enabled and two_factor.status(member).method is None
    mailing.send_due()
    assert mail.outbox[-1].to == [member.email] and "needs the password only" in mail.outbox[-1].body


def test_an_admin_does_not_touch_a_superadmin_s_second_factor(admin, superadmin, browser):
    two_factor.enable(superadmin)
    give_password(browser)
    form = {"action": "turn_off_second_factor", "_selected_action": [str(superadmin.pk)]}
    assert b"The second factor of" not in browser.post(INSIDE, form, follow=True).content
    superadmin.refresh_from_db()
    assert superadmin.two_fa_enabled


def _first_code(user: User) -> str:
    secret = totp.begin(user).secret
    return totp.app.format_hotp_value(totp.app.hotp_value(secret, int(clock.now().timestamp()) // 30))
