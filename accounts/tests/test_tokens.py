"""A token works for one purpose, one audience, one account; never for another."""

from __future__ import annotations

import time
import uuid

import jwt
import pytest
from rest_framework_simplejwt.tokens import AccessToken as StockAccessToken

from accounts import api_keys, one_time, realms, tokens
from accounts.models import SignIn, User
from accounts.one_time import Purpose
from accounts.principals import Principal
from core.errors import BadRequest, Unauthorized

pytestmark = [pytest.mark.django_db, pytest.mark.engine]


@pytest.fixture
def pair(owner):
    return tokens.issue(owner)


def claims_of(raw):
    return jwt.decode(raw, options={"verify_signature": False})


def signed(claims, key=None, algorithm="HS256"):
    key = key or tokens.AccessToken().token_backend.signing_key
    return jwt.encode(claims, key, algorithm=algorithm)


def test_an_access_token_speaks_for_its_account(pair, owner):
    principal = tokens.principal_from_token(pair.access)
    assert (principal.id, principal.collection, principal.email) == (str(owner.id), "users", owner.email)
    assert principal.verified is True and principal.fields["username"] == "owner"
    assert not {"password", "token_key"} & set(principal.fields)


def test_the_principal_of_a_token_equals_that_of_a_session(pair, owner):
    from accounts.principals import principal_of

    assert tokens.principal_from_token(pair.access) == principal_of(owner)


def test_a_refresh_token_is_not_an_access_token_nor_the_reverse(pair):
    with pytest.raises(Unauthorized):
        tokens.principal_from_token(pair.refresh)
    with pytest.raises(Unauthorized):
        tokens.refresh(realms.staff(), pair.access)


@pytest.mark.parametrize(
    "change",
    [
        {"aud": "collection:posts"},
        {"aud": None},
        {"iss": "somebody-else"},
        {"purpose": "reset"},
        {"exp": 1},
        {"stm": "0" * 32},
        {"stm": None},
        {"sid": str(uuid.uuid4())},
        {"sid": "1"},
        {"sub": 7},
        {"jti": None},
    ],
)
def test_a_well_signed_token_with_one_wrong_claim_is_refused(change, pair):
    claims = {**claims_of(pair.access), **change}
    raw = signed({name: value for name, value in claims.items() if value is not None})
    with pytest.raises(Unauthorized):
        tokens.principal_from_token(raw)


def test_a_token_of_another_account_s_sign_in_is_refused(pair, stranger):
    theirs = tokens.issue(stranger)
    mixed = {**claims_of(pair.access), "sid": claims_of(theirs.access)["sid"]}
    with pytest.raises(Unauthorized):
        tokens.principal_from_token(signed(mixed))


def test_unsigned_and_foreign_signatures_are_refused(pair, settings):
    claims = claims_of(pair.access)
    for raw in (
        jwt.encode(claims, None, algorithm="none"),
        signed(claims, key=settings.SECRET_KEY),
        signed(claims, algorithm="HS512"),
        pair.access[:-4] + "AAAA",
        pair.access + "A" * 5000,
        "",
        "a.b.c",
        "\x00",
        "é.é.é",
    ):
        with pytest.raises(Unauthorized):
            tokens.principal_from_token(raw)


def test_a_stock_simplejwt_token_for_the_same_id_is_refused(owner):
    stock = StockAccessToken.for_user(owner)
    for audience in (None, "users"):
        if audience:
            stock["aud"], stock["iss"] = audience, "fastcms"
        with pytest.raises(Unauthorized):
            tokens.principal_from_token(str(stock))


def test_an_expired_token_leaves_the_cache(pair, monkeypatch):
    tokens.principal_from_token(pair.access)
    later = time.time() + 3600
    monkeypatch.setattr(tokens.time, "time", lambda: later)
    monkeypatch.setattr(tokens, "_resolve", lambda raw: (_ for _ in ()).throw(Unauthorized))
    with pytest.raises(Unauthorized):
        tokens.principal_from_token(pair.access)


def test_the_signature_is_checked_once_and_the_row_every_time(pair, owner, django_assert_num_queries, monkeypatch):
    tokens.principal_from_token(pair.access)
    monkeypatch.setattr(tokens, "_resolve", lambda raw: pytest.fail("verified twice"))
    assert tokens.principal_from_token(pair.access) is tokens.principal_from_token(pair.access)
    SignIn.objects.update(revoked="2026-01-01T00:00:00Z")
    with pytest.raises(Unauthorized):
        tokens.principal_from_token(pair.access)


def test_the_cache_of_verified_tokens_is_bounded(owner, monkeypatch):
    monkeypatch.setattr(tokens, "_CACHE_SIZE", 8)
    for _ in range(20):
        tokens.principal_from_token(tokens.issue(owner).access)
    assert len(tokens._cache) <= 8


def test_another_app_answers_for_its_own_audience_only(pair, monkeypatch):
    guest = Principal(id="r1", collection="customers", collection_id="c1")

    class Guest:
        expires = time.time() + 60

        def principal(self):
            return guest

    monkeypatch.setattr(tokens, "_resolvers", dict(tokens._resolvers))
    tokens.register_resolver("collection", lambda raw: Guest())
    foreign = signed({"aud": "collection:c1"}, key="k" * 32)
    assert tokens.principal_from_token(foreign) is guest
    assert tokens.principal_from_token(pair.access) is not guest
    with pytest.raises(Unauthorized):
        tokens.principal_from_token(signed({"aud": "other:c1"}, key="k" * 32))


def test_expired_sign_ins_are_swept_out_at_the_next_login(owner, pair):
    SignIn.objects.update(expires="2020-01-01T00:00:00Z")
    tokens.issue(owner)
    assert SignIn.objects.count() == 1


@pytest.mark.parametrize("there", [{"role": "admin"}, {"email": "elsewhere@example.com"}])
def test_an_earlier_address_or_role_brings_no_token_back(there, pair, owner):
    link, (_, key) = one_time.make(owner, Purpose.RESET), api_keys.make(owner, name="test", access="read")
    back = {name: getattr(owner, name) for name in there}
    for change in (there, back):
        user = User.objects.get(pk=owner.pk)
        for name, value in change.items():
            setattr(user, name, value)
        user.save(update_fields=[*change])
    for raw in (pair.access, key):
        with pytest.raises(Unauthorized):
            tokens.principal_from_token(raw)
    with pytest.raises(Unauthorized):
        tokens.refresh(realms.staff(), pair.refresh)
    with pytest.raises(BadRequest):
        one_time.use(link, Purpose.RESET)


def test_what_else_changes_of_an_account_ends_no_token(pair, owner):
    user = User.objects.get(pk=owner.pk)
    user.name, user.verified = "Another", False
    user.save()
    user.refresh_from_db()
    user.save()
    assert tokens.principal_from_token(pair.access).fields["name"] == "Another"
