"""Passwords: the same work for whoever asks, kept in old ways no longer than needed, and never in others' way."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import argon2
import bcrypt
import pytest
from django.contrib.auth.hashers import get_hasher, identify_hasher, make_password
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from accounts import api_keys, hashers, passwords, realms, sign_in
from accounts.models import Mail, User
from accounts.tokens import Client
from core import hashing
from core.errors import Conflict

pytestmark = pytest.mark.engine

AUTH = "/api/v1/auth/"
PASSWORD = "correct-horse-battery"


def login(email: str, password: str = PASSWORD) -> Any:
    return APIClient().post(f"{AUTH}login", {"email": email, "password": password})


# --- the same work for everybody --------------------------------------------------------------


@pytest.fixture
def hashed(real_hashers: None, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Each hash that is made or checked: the algorithm's name. They are made quickly here."""
    monkeypatch.setattr(hashers.Argon2PasswordHasher, "memory_cost", 8)
    monkeypatch.setattr(hashers.Argon2PasswordHasher, "time_cost", 1)
    passwords._nobodys_hash.cache_clear()
    passwords._nobodys_hash(get_hasher().algorithm)
    made: list[str] = []
    run = hashing.run

    def counted(action: Any) -> Any:
        made.append(action.func.__self__.algorithm)
        return run(action)

    monkeypatch.setattr(hashing, "run", counted)
    yield made
    passwords._nobodys_hash.cache_clear()


@pytest.fixture
def crowd(hashed: list[str], make_user: Callable[..., User]) -> list[str]:
    """The addresses of accounts of every state, and of nobody."""
    make_user("known")
    make_user("fresh", verified=False)
    make_user("off", is_active=False)
    make_user("second", two_fa_enabled=True)
    make_user("gone").soft_delete()
    make_user("outside")
    User.objects.filter(username="outside").update(password=make_password(None))
    hashed.clear()
    return [f"{name}@example.com" for name in ("known", "fresh", "off", "second", "gone", "outside", "nobody")]


def cost(hashed: list[str], ask: Callable[[], Any]) -> tuple[Any, ...]:
    """What an answer says, and the work that it took: hashes, queries by their first words, mails that are due."""
    del hashed[:]
    mails = Mail.objects.count()
    with CaptureQueriesContext(connection) as queries:
        answer = ask()
    told = {key: value for key, value in answer.json().items() if key not in ("request_id", "timestamp")}
    words = [" ".join(query["sql"].split()[:3]) for query in queries if "SAVEPOINT" not in query["sql"]]
    return answer.status_code, told, list(hashed), words, Mail.objects.count() - mails


def test_a_failed_login_is_the_same_for_all(crowd: list[str], hashed: list[str]) -> None:
    costs = [cost(hashed, lambda: login(email, "wrong-password-9")) for email in crowd]  # noqa: B023
    assert costs[0][0] == 401 and costs[0][2] == ["argon2"]
    assert all(one == costs[0] for one in costs), costs


def test_a_request_for_a_reset_is_the_same_for_all(crowd: list[str], hashed: list[str]) -> None:
    costs = [
        cost(hashed, lambda: APIClient().post(f"{AUTH}request-password-reset", {"email": email}))  # noqa: B023
        for email in crowd
    ]
    assert costs[0][0] == 200 and costs[0][2] == [] and costs[0][4] == 1
    assert all(one == costs[0] for one in costs), costs


def test_a_request_for_another_verification_is_the_same_for_all(crowd: list[str], hashed: list[str]) -> None:
    costs = [
        cost(hashed, lambda: APIClient().post(f"{AUTH}resend-verification", {"email": email}))  # noqa: B023
        for email in crowd
    ]
    assert costs[0][0] == 200 and costs[0][4] == 1
    assert all(one == costs[0] for one in costs), costs


def test_a_registration_hashes_whether_the_address_is_taken_or_not(crowd: list[str], hashed: list[str]) -> None:
    for email in ("known@example.com", "brand-new@example.com"):
        hashed.clear()
        answer = APIClient().post(f"{AUTH}register", {"email": email, "password": "another-long-password"})
        assert answer.status_code == (409 if email.startswith("known") else 201)
        assert hashed == ["argon2"]


def test_the_second_factor_is_no_hint_before_the_password(crowd: list[str], hashed: list[str]) -> None:
    assert login("second@example.com", "wrong-password-9").status_code == 401
    assert "challenge" in login("second@example.com").json()


def test_the_admins_sign_in_costs_the_same_for_all(crowd: list[str], hashed: list[str], client: Any) -> None:
    for email in crowd:
        hashed.clear()
        answer = client.post("/admin/login/", {"username": email, "password": "wrong-password-9"})
        assert answer.status_code == 200 and hashed == ["argon2"], (email, hashed)


# --- old hashes -------------------------------------------------------------------------------

RAW = {
    "bcrypt as it is": lambda: bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode(),
    "bcrypt of PHP": lambda: "$2y$" + bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode()[4:],
    "bcrypt of Django": lambda: make_password(PASSWORD, hasher="bcrypt"),
    "bcrypt_sha256": lambda: make_password(PASSWORD, hasher="bcrypt_sha256"),
    "pbkdf2": lambda: make_password(PASSWORD, hasher="pbkdf2_sha256"),
    "argon2 as it is": lambda: argon2.PasswordHasher(1, 8, 1).hash(PASSWORD),
    "argon2 with other costs": lambda: "argon2" + argon2.PasswordHasher(1, 8, 1).hash(PASSWORD),
}


@pytest.mark.parametrize("kind", RAW)
def test_an_imported_hash_signs_in_and_is_renewed(
    real_hashers: None, make_user: Callable[..., User], kind: str
) -> None:
    user = make_user("ann")
    User.objects.filter(pk=user.pk).update(password=RAW[kind]())
    assert login("ann@example.com", "wrong-password-9").status_code == 401
    assert login("ann@example.com", PASSWORD + "x").status_code == 401
    signed_in = login("ann@example.com")
    assert signed_in.status_code == 200, signed_in.content
    user.refresh_from_db()
    assert identify_hasher(user.password).algorithm == "argon2" and not passwords.is_old(user.password)
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {signed_in.json()['access_token']}")
    assert client.get(f"{AUTH}me").status_code == 200, "the sign-in that renewed it goes on"
    renewed = user.password
    assert login("ann@example.com").status_code == 200
    user.refresh_from_db()
    assert user.password == renewed


@pytest.mark.parametrize(
    "encoded",
    ["", "x", "$2b$", "$2b$10$short", "$2b$99$" + "a" * 53, "$argon2id$x", "bcrypt$", "md5$a$b", "!", "argon2$", "$"],
)
def test_rubbish_is_no_password(real_hashers: None, make_user: Callable[..., User], encoded: str) -> None:
    user = make_user("ann")
    User.objects.filter(pk=user.pk).update(password=encoded)
    for password in (PASSWORD, encoded or "x", "x" * 128):
        assert login("ann@example.com", password).status_code == 401


def test_bcrypt_looks_at_72_bytes_and_fails_nobody_for_more(real_hashers: None, make_user: Callable[..., User]) -> None:
    long = "é" * 60
    user = make_user("ann")
    User.objects.filter(pk=user.pk).update(password=bcrypt.hashpw(long.encode()[:72], bcrypt.gensalt(4)).decode())
    assert login("ann@example.com", "x" * 100).status_code == 401
    assert login("ann@example.com", long).status_code == 200
    assert login("ann@example.com", long[:-1]).status_code == 401, "from now on every character counts"


def test_a_password_hashed_anew_ends_no_api_key(real_hashers: None, make_user: Callable[..., User]) -> None:
    user = make_user("ann")
    User.objects.filter(pk=user.pk).update(password=RAW["bcrypt as it is"]())
    user.refresh_from_db()
    _, raw = api_keys.make(user, name="x", access="read")
    client = APIClient()
    client.credentials(HTTP_X_API_KEY=raw)
    assert login("ann@example.com").status_code == 200
    assert client.get(f"{AUTH}me").status_code == 200
    user.refresh_from_db()
    user.set_password("another-long-password")
    user.save()
    assert client.get(f"{AUTH}me").status_code == 401


@pytest.mark.slow
def test_of_two_who_renew_at_once_both_stay_signed_in(
    committed_db: None, real_hashers: None, make_user: Callable[..., User]
) -> None:
    user = make_user("ann")
    User.objects.filter(pk=user.pk).update(password=RAW["bcrypt as it is"]())
    together = threading.Barrier(4)

    def one(_: int) -> str:
        together.wait(10)
        try:
            found = sign_in.log_in(realms.staff(), "ann@example.com", PASSWORD, Client())
            assert isinstance(found, sign_in.SignedIn)
            return found.tokens.access
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as crew:
        tokens = list(crew.map(one, range(4)))
    for token in tokens:
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {token}")
        assert client.get(f"{AUTH}me").status_code == 200


def test_a_renewal_does_not_undo_a_change_of_the_password(make_user: Callable[..., User]) -> None:
    stale = make_user("ann")
    User.objects.get(pk=stale.pk).set_password("x")
    User.objects.filter(pk=stale.pk).update(password=make_password("another-long-password"))
    with pytest.raises(Conflict):
        realms.staff().renew_hash(stale, make_password(PASSWORD))
    assert login("ann@example.com").status_code == 401
    assert login("ann@example.com", "another-long-password").status_code == 200


# --- where it is done -------------------------------------------------------------------------


@pytest.fixture
def crew(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A crew of one thread."""
    monkeypatch.setattr(hashing, "THREADS", 1)
    hashing._crew.cache_clear()
    yield
    hashing._crew().shutdown()
    hashing._crew.cache_clear()


def test_no_more_is_hashed_at_a_time_than_there_are_threads(crew: None) -> None:
    under_way, most = 0, 0
    lock = threading.Lock()

    def hashes() -> str:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        threading.Event().wait(0.01)
        with lock:
            under_way -= 1
        return threading.current_thread().name

    with ThreadPoolExecutor(8) as asking:
        names = set(asking.map(lambda _: hashing.run(hashes), range(20)))
    assert most == 1 and all(name.startswith("hashing") for name in names)


@pytest.mark.parametrize("algorithm", ["argon2", "bcrypt", "bcrypt_sha256", "pbkdf2_sha256"])
def test_a_hasher_that_calls_itself_waits_for_nobody(real_hashers: None, crew: None, algorithm: str) -> None:
    made = make_password(PASSWORD, hasher=algorithm)
    assert get_hasher(algorithm).verify(PASSWORD, made) and not get_hasher(algorithm).verify("x", made)


def test_where_others_wait_nothing_is_hashed(real_hashers: None) -> None:
    with hashing.forbidden(), pytest.raises(hashing.NotHere):
        make_password(PASSWORD)
    assert make_password(PASSWORD)


def test_a_fault_while_hashing_is_the_askers(crew: None) -> None:
    with pytest.raises(ZeroDivisionError):
        hashing.run(lambda: 1 // 0)
    assert hashing.run(lambda: "still there") == "still there"
