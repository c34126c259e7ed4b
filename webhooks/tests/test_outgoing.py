"""Where the client goes, and what it makes of peers that behave badly. All peers are real, on loopback."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from collections_app.tests.other_process import ROOT
from core.errors import ValidationFailed
from webhooks import client as clients
from webhooks import outgoing
from webhooks.client import Client
from webhooks.outgoing import Answer
from webhooks.resolving import resolve as system_resolve
from webhooks.tests import receivers
from webhooks.tests.receivers import Receiver, Reply, Taken


@pytest.fixture(scope="module")
def shared() -> Iterator[Client]:
    made = Client()
    yield made
    made.close()


@pytest.fixture
def post(shared: Client) -> Callable[..., Answer]:
    def send(url: str, body: bytes = b"{}") -> Answer:
        return shared.post(url, {"webhook-id": "evt_1"}, body).result(60)

    return send


@contextlib.contextmanager
def resolving(*turns: list[str]) -> Iterator[Client]:
    """A client whose names have the addresses of each turn, the last of them for ever."""
    left = list(turns)

    def resolve(host: str, port: int, family: socket.AddressFamily) -> list[tuple[Any, ...]]:
        addresses = left.pop(0) if len(left) > 1 else left[0]
        return [
            info
            for address in addresses
            for info in socket.getaddrinfo(address, port, family, socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)
        ]

    made = Client(resolve)
    try:
        yield made
    finally:
        made.close()


# --- what an address must look like ----------------------------------------------------------

BAD = [
    "", "x", "example.com", "/hook", "//example.com/hook", "ftp://example.com/", "file:///etc/passwd", "javascript:1",
    "http://", "http:///hook", "https://:443/", "http://user@example.com/", "http://user:pass@example.com/",
    "http://@example.com/", "http://example.com/#top", "http://example.com/#", "http://example.com:0/",
    "http://example.com:99999/", "http://example.com:x/", "http://exa mple.com/", "http://example.com/\n", " http://a.b/",
    "http://example.com/\x00", "http://example.com/\u2028", "http://exam\\ple.com/", "http://a%00b.com/",
    "http://[::1", "http://[1.2.3.4]/", "http://a..b/", "http://" + "a" * 64 + ".com/", "http://exa!mple.com/",
    "http://example.com/" + "x" * 2000,
]  # fmt: skip
PRIVATE = [
    "http://127.0.0.1/", "http://127.1/", "http://0/", "http://0x7f000001/", "http://2130706433/", "http://0177.0.0.1/",
    "http://127.0.0.1./", "https://localhost:8000/x", "http://LOCALHOST/", "http://localhost./", "http://a.localhost/",
    "http://10.0.0.1/", "http://192.168.0.1:9/", "http://169.254.169.254/latest/meta-data/", "http://100.64.1.1/",
    "http://0.0.0.0/", "http://[::1]/", "http://[::]/", "http://[::ffff:127.0.0.1]/", "http://[::ffff:7f00:1]/",
    "http://[64:ff9b::7f00:1]/", "http://[2002:7f00:1::]/", "http://[fe80::1]/", "http://[fd00::1]/",
    "http://127。0。0。1/", "http://①②⑦.0.0.1/", "http://127．1/", "http://[2001:0:5ef5:79fb::1]/", "http://224.0.0.1/", "http://255.255.255.255/",
]  # fmt: skip
GOOD = [
    "https://example.com", "http://example.com:8080/hook?token=a%20b&x=1", "https://exämple.com/hook",
    "https://sub.example.co.uk./", "http://1.1.1.1/", "https://[2606:4700:4700::1111]/x", "HTTPS://EXAMPLE.COM/",
    "http://under_score.example.com/", "https://xn--exmple-cua.com/",
]  # fmt: skip


@pytest.mark.parametrize("url", [*BAD, *PRIVATE])
def test_such_an_address_is_refused(url: str) -> None:
    with pytest.raises(ValidationFailed) as refused:
        outgoing.check_url(url)
    assert refused.value.fields.keys() == {"url"}


@pytest.mark.parametrize("url", GOOD)
def test_such_an_address_is_taken(url: str) -> None:
    outgoing.check_url(url)


def test_private_addresses_are_taken_where_that_is_set(loopback: None) -> None:
    for url in PRIVATE:
        outgoing.check_url(url)
    for url in BAD:
        with pytest.raises(ValidationFailed):
            outgoing.check_url(url)


# --- where we connect ------------------------------------------------------------------------


@contextlib.contextmanager
def untouched() -> Iterator[int]:
    """The port of a listener that nobody may connect to."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]
        listener.settimeout(0.1)
        with pytest.raises(TimeoutError):
            listener.accept()


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "127.0.0.2", "0.0.0.0", "[::1]", "[::ffff:127.0.0.1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]",  # noqa: S104
        "[2002:7f00:1::]", "[fe80::1]", "10.0.0.1", "169.254.169.254", "100.64.0.1", "224.0.0.1", "localhost",
    ],
)  # fmt: skip
def test_no_private_address_is_connected_to(post: Any, host: str) -> None:
    with untouched() as port:
        assert post(f"http://{host}:{port}/hook").error == "address not allowed"


@pytest.mark.parametrize("host", ["127.1", "0x7f000001", "2130706433", "0"])
def test_odd_spellings_of_loopback_lead_nowhere(post: Any, host: str) -> None:
    with untouched() as port:
        answer = post(f"http://{host}:{port}/hook")
        assert answer.status is None and answer.error in ("address not allowed", "bad address", "dns failure")


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "::ffff:127.0.0.1", "10.1.2.3", "64:ff9b::7f00:1", "fe80::1"])
def test_a_name_of_a_private_machine_leads_nowhere(address: str) -> None:
    with resolving([address]) as client, untouched() as port:
        assert client.post(f"http://rebound.example:{port}/", {}, b"{}").result(60).error == "address not allowed"


def test_each_connection_is_judged_by_the_address_that_it_goes_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that is fine once, and another machine's the next time: rebinding."""
    monkeypatch.setattr(outgoing, "may_connect", lambda address: address == "127.0.0.1")
    with receivers.receiver() as fine, resolving(["127.0.0.1"], ["127.0.0.2"]) as client:
        fine.answer = lambda taken: Reply(headers={"Connection": "close"})
        url = f"http://rebound.example:{fine.port}/"
        assert client.post(url, {}, b"{}").result(60).status == 200
        assert client.post(url, {}, b"{}").result(60).error == "address not allowed"
        assert len(fine.taken) == 1


def test_of_several_addresses_only_those_are_tried_that_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outgoing, "may_connect", lambda address: address == "127.0.0.1")
    with receivers.receiver() as fine, resolving(["127.0.0.2", "10.0.0.1", "127.0.0.1"]) as client:
        assert client.post(f"http://several.example:{fine.port}/", {}, b"{}").result(60).status == 200
    with resolving(["127.0.0.2", "10.0.0.1"]) as client:
        assert client.post("http://several.example/", {}, b"{}").result(60).error == "address not allowed"


def test_a_redirect_to_a_private_address_is_not_followed(post: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with untouched() as port, receivers.receiver() as public:
        monkeypatch.setattr(outgoing, "may_connect", lambda address: True)  # as if the first one were public
        for status in (301, 302, 303, 307, 308):
            public.answer = lambda taken, status=status: Reply(status, {"Location": f"http://127.0.0.1:{port}/"})
            answer = post(public.url)
            assert (answer.status, answer.is_success) == (status, False) and "redirect" in answer.error
        assert len(public.taken) == 5


def test_proxies_of_the_environment_are_not_used(
    post: Any, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    with untouched() as port:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
        assert post(receiver.url).status == 200


def test_no_cookie_is_kept_and_nothing_of_ours_is_told(post: Any, receiver: Receiver) -> None:
    receiver.answer = lambda taken: Reply(headers={"Set-Cookie": "a=b"})
    for _ in range(2):
        assert post(receiver.url).status == 200
    headers = receiver.taken[1].headers
    assert headers.keys() == {
        "host", "accept", "accept-encoding", "user-agent", "content-length", "content-type", "webhook-id",
    } and headers["accept-encoding"] == "identity"  # fmt: skip


# --- peers that behave badly -----------------------------------------------------------------


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "WHOLE_SECONDS", 0.6)


def test_nobody_there_is_a_refused_connection(post: Any, loopback: None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    assert post(f"http://127.0.0.1:{port}/").error == "connection refused"


def test_a_name_that_nobody_has_is_a_dns_failure(post: Any) -> None:
    assert post("http://nobody.invalid/").error == "dns failure"


def test_names_that_are_long_in_resolving_keep_only_those_waiting_who_ask_for_them(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = threading.Event()

    def resolve(host: str, port: int, family: socket.AddressFamily) -> list[tuple[Any, ...]]:
        if host.startswith("dead"):
            go.wait(100)
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        return system_resolve("127.0.0.1", port, family)

    client = Client(resolve)
    try:
        dead = [client.post(f"http://dead{n % 20}.example/", {}, b"{}") for n in range(200)]
        assert client.post(f"http://good.example:{receiver.port}/", {}, b"{}").result(60).status == 200
        monkeypatch.setattr(clients, "CONNECT_SECONDS", 0.3)
        assert client.post("http://dead.example/", {}, b"{}").result(60).error == "timeout while connecting"
        go.set()
        late = {"dns failure", "timeout while connecting"}  # on the slowest machine
        assert {one.result(60).error for one in dead} <= late
    finally:
        go.set()
        client.close()


def test_a_process_ends_while_names_are_looked_up() -> None:
    program = """
import time
from webhooks import client

def slow(host, port, family):
    time.sleep(600)

client.Client.__init__.__defaults__ = (slow,)
for number in range(200):
    client.shared().post(f"http://name{number}.example/", {}, b"{}")
time.sleep(0.2)
"""
    environ = {"DJANGO_SETTINGS_MODULE": "cms_project.settings", "ENV": "development", "ENV_FILE": ""}
    ended = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | environ, cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 0 and not ended.stderr, ended.stderr


def test_a_peer_that_says_nothing_is_left_in_time(post: Any, loopback: None, hasty: None) -> None:
    with receivers.raw(receivers.silent) as url:
        answer = post(url)
    assert answer.error == "timeout" and answer.status is None
    assert answer.duration_ms > 500


def test_a_head_that_drips_is_left_in_time(post: Any, loopback: None, hasty: None) -> None:
    def drip(connection: socket.socket) -> None:
        connection.recv(65536)
        for char in b"HTTP/1.1 200 OK\r\nX-Drip: " + b"x" * 1000:
            connection.sendall(bytes([char]))
            time.sleep(0.05)

    with receivers.raw(drip) as url:
        assert post(url).error == "timeout"


def test_of_a_body_that_drips_the_status_counts(post: Any, loopback: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "BODY_SECONDS", 0.3)
    closed = threading.Event()

    def drip(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\nx")
        try:
            for _ in range(1999):  # for a hundred seconds
                connection.sendall(b"x")
                time.sleep(0.05)
        except OSError:
            closed.set()

    with receivers.raw(drip) as url:
        answer = post(url)
        assert answer.is_success and 0 < len(answer.body) < 2000
        assert closed.wait(60)


@pytest.mark.parametrize(
    "head", ["Content-Length: 10000000000", "Transfer-Encoding: chunked", "Content-Encoding: gzip"]
)
def test_of_ten_gigabytes_64_kilobytes_are_read(post: Any, loopback: None, head: str) -> None:
    sent = []
    closed = threading.Event()

    def flood(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(f"HTTP/1.1 200 OK\r\n{head}\r\n\r\n".encode())
        piece = b"x" * 65536
        if "chunked" in head:
            piece = b"10000\r\n" + piece + b"\r\n"
        try:
            while True:
                sent.append(connection.send(piece))
        except OSError:
            closed.set()

    with receivers.raw(flood) as url:
        answer = post(url)
        assert answer.is_success and len(answer.body) == 64 * 1024
        assert closed.wait(5) and sum(sent) < 20_000_000


def test_an_answer_is_kept_as_text_that_any_database_takes(post: Any, receiver: Receiver) -> None:
    receiver.answer = lambda taken: Reply(500, body=b"a\x00b\xff\xfe\xed\xa0\x80")
    answer = post(receiver.url)
    assert answer.status == 500 and answer.error == "answered 500"
    assert "\x00" not in answer.body and answer.body.encode("utf-8").startswith(b"a")


@pytest.mark.parametrize(
    "said",
    [
        b"", b"HTTP/1.1 200 OK", b"SSH-2.0-OpenSSH_9.6\r\n", b"HTTP/1.1 abc OK\r\n\r\n", b"HTTP/9.9 200 OK\r\n\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000 + b"\r\n",
        b"\x00\xff" * 1000,
    ],
)  # fmt: skip
def test_what_is_no_answer_is_none(post: Any, loopback: None, hasty: None, said: bytes) -> None:
    def answer(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(said)

    with receivers.raw(answer) as url:
        found = post(url)
        assert found.status is None and found.error in (
            "bad answer", "connection closed without an answer", "connection reset", "timeout",
        )  # fmt: skip


def test_a_connection_cut_off_is_told_so(post: Any, loopback: None) -> None:
    def reset(connection: socket.socket) -> None:
        connection.recv(100)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with receivers.raw(reset) as url:
        assert post(url, b"x" * 1_000_000).error == "connection reset"


def test_a_kept_connection_that_was_closed_meanwhile_is_no_failure(post: Any, loopback: None) -> None:
    taken = []

    def once(connection: socket.socket) -> None:
        taken.append(connection.recv(65536))
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        connection.recv(1)  # the next request is cut off
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with receivers.raw(once) as url:
        assert [post(url).status for _ in range(4)] == [200] * 4
    assert len(taken) == 4


def test_a_hundred_answers_that_never_come_keep_no_other_waiting(
    post: Any, shared: Client, receiver: Receiver, hasty: None
) -> None:
    with receivers.raw(receivers.silent) as dead:
        waiting = [shared.post(dead, {}, b"{}") for _ in range(100)]
        assert post(receiver.url).status == 200
        assert {one.result(10).error for one in waiting} <= {"timeout", "timeout while connecting"}


# --- TLS -------------------------------------------------------------------------------------


def certificate(folder: Path, host: str, *, days: int = 1) -> ssl.SSLContext:
    """A server's side of TLS, with a certificate that it signed itself."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=10))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


def test_a_certificate_that_nobody_vouches_for_is_refused(post: Any, loopback: None, tmp_path: Path) -> None:
    with receivers.receiver(certificate(tmp_path, "localhost")) as secure:
        answer = post(secure.url.replace("127.0.0.1", "localhost"))
        assert answer.error == "bad certificate" and not secure.taken


def test_what_speaks_no_tls_is_told_so(post: Any, receiver: Receiver) -> None:
    assert post(receiver.url.replace("http:", "https:")).error == "TLS failure"
    assert not receiver.taken


def test_words_for_faults_tell_nothing_of_the_address() -> None:
    for fault in (OSError(5, "http://secret"), ValueError("secret"), UnicodeError("secret"), TimeoutError("secret")):
        assert "secret" not in clients.words(fault)


def test_taken_is_what_was_sent(post: Any, receiver: Receiver) -> None:
    assert post(f"{receiver.url}?a=%20b&c=%2F", b'{"a": "\xc3\xa4"}').body == "ok"
    (taken,) = receiver.taken
    assert isinstance(taken, Taken) and taken.path == "/hook?a=%20b&c=%2F" and taken.body == b'{"a": "\xc3\xa4"}'
    assert post(f"{receiver.url.upper().replace('/HOOK', '')}/ä?x=ö").status == 200
    assert receiver.taken[1].path == "/%C3%A4?x=%C3%B6"
