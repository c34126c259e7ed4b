"""The pages that mails link to: a look uses nothing up, a press of the button does it once."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from django.core import mail
from django.test import Client

from accounts import invites, mailing, one_time, realms
from accounts.models import Invite, Mail, OneTimeToken, Role, User
from accounts.one_time import Purpose
from accounts.principals import principal_of
from accounts.tests.threads import together
from settings_app.models import CmsSetting

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.engine]

PASSWORD = "correct-horse-battery"
NEW = "another-staple-7"
PATHS = {Purpose.VERIFY: "/verify", Purpose.RESET: "/reset-password", Purpose.CHANGE_EMAIL: "/change-email"}


@pytest.fixture
def page() -> Client:
    """A browser without JavaScript; Django's CSRF check is on."""
    return Client(enforce_csrf_checks=True, headers={"Accept": "text/html"})


@pytest.fixture
def ann(make_user: Callable[..., User]) -> User:
    make_user("first")
    return make_user("ann", verified=False)


def token_for(account: User, purpose: Purpose) -> str:
    return one_time.make(account, purpose, {"email": "new@example.com"} if purpose == Purpose.CHANGE_EMAIL else None)


def text_of(answer) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<style>.*?</style>|<[^>]+>", " ", answer.content.decode(), flags=re.S))


def fields_of(answer) -> dict[str, str]:
    """What the page's form would send as it stands."""
    found = re.findall(r'<input[^>]*? name="(\w+)"(?:[^>]*? value="([^"]*)")?', answer.content.decode())
    return {name: value for name, value in found if name != "username"}


@pytest.mark.parametrize("purpose", PATHS)
def test_looking_uses_nothing_up_and_changes_nothing(page, ann, purpose):
    token = token_for(ann, purpose)
    before = User.objects.values().get(pk=ann.pk)
    for _ in range(3):
        answer = page.get(PATHS[purpose], {"token": token})
        assert answer.status_code == 200 and "ann@example.com" in text_of(answer)
    assert page.head(f"{PATHS[purpose]}?token={token}").status_code == 200
    assert User.objects.values().get(pk=ann.pk) == before
    assert one_time.peek(token, purpose).account == ann


@pytest.mark.parametrize("purpose", PATHS)
@pytest.mark.parametrize("path", ["", "/"])
def test_pages_keep_the_token_to_themselves(page, ann, purpose, path):
    token = token_for(ann, purpose)
    answer = page.get(PATHS[purpose] + path, {"token": token})
    html = answer.content.decode()
    assert answer["Cache-Control"] == "no-store" and answer["Referrer-Policy"] == "same-origin"
    policy = answer["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'") and "frame-ancestors 'none'" in policy and "unsafe" not in policy
    assert "http://" not in html and "https://" not in html and "<script" not in html and " src=" not in html
    assert 'action="?"' in html  # the token goes on in the body, not in an address
    assert not answer.cookies


def test_the_button_verifies_once(page, ann):
    token = token_for(ann, Purpose.VERIFY)
    form = fields_of(page.get("/verify", {"token": token}))
    done = page.post("/verify", form)
    assert done.status_code == 200 and "Your address is verified" in text_of(done)
    ann.refresh_from_db()
    assert ann.verified
    again = page.post("/verify", form)
    assert again.status_code == 400 and "no longer works" in text_of(again)


def test_a_session_in_the_browser_is_no_hindrance(page, ann, admin):
    page.force_login(admin)
    token = token_for(ann, Purpose.VERIFY)
    assert page.post("/verify", {"token": token}).status_code == 200
    ann.refresh_from_db()
    assert ann.verified


def test_many_presses_at_once_reset_one_password(ann):
    token = token_for(ann, Purpose.RESET)
    passwords = [f"another-staple-{number}" for number in range(8)]

    def press(password: str) -> int:
        body = {"token": token, "new_password": password, "password_confirm": password}
        return Client().post("/reset-password", body, headers={"Accept": "text/html"}).status_code

    answers = together(8, lambda number: press(passwords[number]))
    assert sorted(answers) == [200] + [400] * 7
    ann.refresh_from_db()
    assert ann.check_password(passwords[answers.index(200)])


def test_a_new_password_is_set_and_every_sign_in_ends(page, ann, as_user):
    signed_in = as_user(ann)
    token = token_for(ann, Purpose.RESET)
    shown = page.get("/reset-password", {"token": token})
    assert "at least 8 characters" in text_of(shown)
    assert shown.content.decode().count('autocomplete="new-password"') == 2
    assert 'autocomplete="username"' in shown.content.decode()
    done = page.post("/reset-password", {**fields_of(shown), "new_password": NEW, "password_confirm": NEW})
    assert done.status_code == 200 and "Your new password is set" in text_of(done)
    ann.refresh_from_db()
    assert ann.check_password(NEW) and ann.verified
    assert signed_in.get("/api/v1/auth/me").status_code == 401
    mailing.send_due()
    assert mail.outbox[-1].subject == "Your password was changed"


def test_every_fault_of_a_new_password_is_told_at_once_and_uses_nothing_up(page, ann):
    token = token_for(ann, Purpose.RESET)
    answer = page.post("/reset-password", {"token": token, "new_password": "12345", "password_confirm": "1234"})
    told = text_of(answer)
    assert answer.status_code == 422
    for fault in ("too short", "entirely numeric", "too common", "The two passwords differ."):
        assert fault in told
    assert "12345" not in answer.content.decode()  # a password never comes back
    ann.refresh_from_db()
    assert ann.check_password(PASSWORD)
    assert page.post("/reset-password", {"token": token}).status_code == 422
    assert (
        page.post("/reset-password", {**fields_of(answer), "new_password": NEW, "password_confirm": NEW}).status_code
        == 200
    )


def test_the_new_address_is_confirmed(page, ann):
    token = token_for(ann, Purpose.CHANGE_EMAIL)
    shown = page.get("/change-email", {"token": token})
    assert "new@example.com" in text_of(shown)
    assert page.post("/change-email", fields_of(shown)).status_code == 200
    ann.refresh_from_db()
    assert ann.email == "new@example.com" and ann.verified


def test_an_address_taken_meanwhile_is_a_dead_link(page, ann, make_user):
    token = token_for(ann, Purpose.CHANGE_EMAIL)
    make_user("new")
    answer = page.post("/change-email", {"token": token})
    assert answer.status_code == 400 and "belongs to another account" in text_of(answer)
    ann.refresh_from_db()
    assert ann.email == "ann@example.com"


@pytest.mark.parametrize("purpose", PATHS)
@pytest.mark.parametrize("token", ["nope", "x" * 5000, "\x00", "é", "<b>"])
def test_a_dead_link_says_what_to_do(page, db, purpose, token):
    for answer in (page.get(PATHS[purpose], {"token": token}), page.post(PATHS[purpose], {"token": token})):
        assert answer.status_code == 400 and "This link no longer works" in text_of(answer)
        assert "<b>" not in answer.content.decode()


def test_a_page_without_a_token_offers_to_send_a_link(page, db):
    for path in ("/verify", "/reset-password"):
        answer = page.get(path)
        assert answer.status_code == 200 and "Send a link" in text_of(answer) and "no longer" not in text_of(answer)
        assert page.post(path).status_code == 400
    assert page.get("/change-email").status_code == 400


@pytest.mark.parametrize("purpose", PATHS)
def test_a_token_for_something_else_is_a_dead_link(page, ann, purpose):
    for other in set(PATHS) - {purpose}:
        assert page.post(PATHS[purpose], {"token": token_for(ann, other)}).status_code == 400
    ann.refresh_from_db()
    assert (ann.email, ann.verified, ann.check_password(PASSWORD)) == ("ann@example.com", False, True)


@pytest.mark.parametrize(("path", "template"), [("/verify", "verify"), ("/reset-password", "reset")])
def test_a_new_link_is_asked_for_on_the_page_of_a_dead_one(page, ann, path, template):
    known = page.post(path, {"email": " Ann@Example.com "})
    unknown = page.post(path, {"email": "nobody@example.com"})
    assert known.status_code == unknown.status_code == 200
    shown = {text_of(known).replace("Ann@Example.com", "X"), text_of(unknown).replace("nobody@example.com", "X")}
    assert len(shown) == 1 and "Check your mail" in shown.pop()
    assert Mail.objects.filter(template=template).count() == 2  # as much work for nobody as for somebody
    mailing.send_due()
    assert [message.to for message in mail.outbox] == [["ann@example.com"]]
    link = re.search(r"http\S+", mail.outbox[0].body)[0]
    assert page.get(link.partition("8000")[2]).status_code == 200


def test_nonsense_instead_of_an_address_is_told(page, ann):
    answer = page.post("/verify", {"email": "ann<b>@"})
    assert answer.status_code == 422 and "Enter a valid e-mail address." in text_of(answer)
    assert "<b>" not in answer.content.decode() and not Mail.objects.exists()


def test_a_link_of_a_collection_that_is_not_there_mails_nobody(page, ann):
    answer = page.post("/reset-password", {"email": "ann@example.com", "collection": "no_such_thing"})
    assert answer.status_code == 200 and "Check your mail" in text_of(answer)
    assert not Mail.objects.exists()


def test_a_change_of_address_can_not_be_asked_for_on_a_page(page, ann):
    answer = page.post("/change-email", {"email": "mallory@example.com"})
    assert answer.status_code == 400 and "sign in and ask" in text_of(answer)
    assert not Mail.objects.exists() and not OneTimeToken.objects.exists()


def test_an_administrator_is_shown_the_way_in(page, ann, admin):
    assert 'href="/admin/"' in page.post("/verify", {"token": token_for(admin, Purpose.VERIFY)}).content.decode()
    assert 'href="/admin/"' not in page.post("/verify", {"token": token_for(ann, Purpose.VERIFY)}).content.decode()


@pytest.mark.parametrize("method", ["put", "patch", "delete"])
def test_other_methods_are_refused(page, ann, method):
    token = token_for(ann, Purpose.VERIFY)
    assert getattr(page, method)(f"/verify?token={token}").status_code == 405
    assert one_time.peek(token, Purpose.VERIFY)


# --- invitations -----------------------------------------------------------------------------


def set_mode(mode: str) -> None:
    CmsSetting.objects.update_or_create(key="registration_mode", defaults={"value": mode, "category": "security"})


@pytest.fixture
def invitation(superadmin: User) -> Callable[..., Invite]:
    superadmin.name = "Jane <b>Harbour</b>"
    superadmin.save()
    set_mode("INVITE_ONLY")

    def make(**fields) -> Invite:
        return invites.create(principal_of(superadmin), superadmin, **{"expires_at": None, **fields})

    return make


def account_form(answer, **more: str) -> dict[str, str]:
    return {**fields_of(answer), "password": NEW, "password_confirm": NEW, **more}


def test_the_link_of_an_invitation_leads_to_an_account(page, invitation):
    invitation(email="carol@example.com", role=Role.ADMIN)
    mailing.send_due()
    link = re.search(r"http\S+/register\?invite=\w+", mail.outbox[-1].body)[0]
    assert link in mail.outbox[-1].alternatives[0][0]
    shown = page.get(link.partition("8000")[2])
    assert shown.status_code == 200 and "Jane &lt;b&gt;Harbour&lt;/b&gt; has invited you" in shown.content.decode()
    assert fields_of(shown)["email"] == "carol@example.com"
    done = page.post("/register", account_form(shown, name="Carol"))
    assert done.status_code == 200 and "Welcome" in text_of(done)
    carol = User.objects.get(email="carol@example.com")
    assert (carol.role, carol.name, carol.verified, carol.check_password(NEW)) == (Role.ADMIN, "Carol", False, True)
    mailing.send_due()
    assert mail.outbox[-1].to == ["carol@example.com"] and "/verify?token=" in mail.outbox[-1].body
    assert page.get(link.partition("8000")[2]).status_code == 400  # used
    assert page.post("/register", account_form(shown, email="x@example.com")).status_code == 422
    assert not User.objects.filter(email="x@example.com").exists()


def test_an_invitation_for_somebody_else_is_not_taken_up(page, invitation):
    code = invites.code_of(invitation(email="carol@example.com"))
    form = account_form(page.get("/register", {"invite": code}), email="mallory@example.com")
    answer = page.post("/register", form)
    assert answer.status_code == 422 and "Invalid invite code" in text_of(answer)
    assert not User.objects.filter(email="mallory@example.com").exists()


def test_without_a_code_the_page_asks_for_it(page, invitation):
    shown = page.get("/register")
    assert shown.status_code == 200 and "Invite code" in text_of(shown)
    form = account_form(shown, email="dan@example.com")
    assert "An invite code is required" in text_of(page.post("/register", form))
    code = invites.code_of(invitation())
    assert page.post("/register", {**form, "invite_code": code.lower()}).status_code == 200


def test_every_fault_of_a_registration_is_told_at_once(page, invitation):
    code = invites.code_of(invitation())
    wrong = {"invite_code": code, "email": "dan@", "password": "123", "password_confirm": "12", "name": "<i>"}
    answer = page.post("/register", wrong)
    told = text_of(answer)
    assert answer.status_code == 422
    for fault in ("Enter a valid email address", "too short", "entirely numeric", "The two passwords differ."):
        assert fault in told
    assert "<i>" not in answer.content.decode() and "&lt;i&gt;" in answer.content.decode()
    assert page.post("/register", {}).status_code == 422
    assert invites.standing(code) is not None


def test_nothing_but_the_form_can_be_sent(page, invitation):
    code = invites.code_of(invitation())
    form = account_form(page.get("/register", {"invite": code}), email="dan@example.com")
    assert page.post("/register", {**form, "role": "superadmin", "verified": "true"}).status_code == 200
    dan = User.objects.get(email="dan@example.com")
    assert (dan.role, dan.verified) == (Role.USER, False)


def test_a_taken_address_is_told_and_costs_no_invitation(page, invitation, make_user):
    make_user("dan")
    code = invites.code_of(invitation())
    form = account_form(page.get("/register", {"invite": code}), email="dan@example.com")
    answer = page.post("/register", form)
    assert answer.status_code == 409 and "already registered" in text_of(answer)
    assert invites.standing(code) is not None


def test_nobody_registers_where_that_is_closed(page, invitation):
    code = invites.code_of(invitation())
    set_mode("CLOSED")
    answer = page.get("/register", {"invite": code})
    assert answer.status_code == 403 and "closed" in text_of(answer)
    form = {"invite_code": code, "email": "dan@example.com", "password": NEW, "password_confirm": NEW}
    assert page.post("/register", form).status_code == 403
    assert not User.objects.filter(email="dan@example.com").exists()


def test_the_first_account_is_made_where_it_belongs(page, db):
    answer = page.get("/register")
    assert answer.status_code == 302 and answer["Location"] == "/admin/"


def test_links_lead_to_the_realm_of_their_account(ann):
    assert realms.of(ann).password_rules()
    mailing.post("reset", ann)
    mailing.send_due()
    assert "collection=" not in mail.outbox[-1].body  # named only where it is not ``users``
