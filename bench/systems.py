"""A system under comparison, as a client sees it: the same wish in each one's words."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from bench import servers, stock
from bench.load import Request
from bench.servers import Server
from bench.stock import Stock

EMAIL, PASSWORD = "member@example.com", "correct-horse-battery"
# Of so many records the id is known here; keyed reads and writes choose among them.
KNOWN_IDS = 20_000
PER_PAGE = 30


@dataclass
class System:
    """``words`` are its names of our parameters and keys, ``created`` the status of a new record,
    ``full_text`` whether it has a search; ``ids`` are those of some products by number.
    While it is ``growing``, under reads and writes at once, answers can't be known as exactly.
    """

    name: str
    short: str
    server: Server
    shelf: Stock
    login: str
    records: str
    words: Mapping[str, str] = field(default_factory=dict)
    created: int = 201
    full_text: bool = True
    member: str = ""
    ids: Mapping[int, str] = field(default_factory=dict)
    token: str = ""
    growing: bool = False

    def word(self, ours: str) -> str:
        return self.words.get(ours, ours)

    def sign_in(self) -> None:
        """All requests made from now on are a normal member's."""
        sent = {self.word("email"): EMAIL, "password": PASSWORD}
        self.token = servers.ask(self.server.port, "POST", self.login, sent)[self.word("access_token")]

    # --- requests -----------------------------------------------------------------------------

    def request(
        self,
        method: str,
        path: str,
        *,
        status: int = 200,
        holds: Callable[[Any], bool] | None = None,
        body: Mapping[str, Any] | None = None,
        header: str = "",
    ) -> Request:
        sent = b"" if body is None else json.dumps(body).encode()
        lines = [
            f"{method} {path} HTTP/1.1",
            f"Host: 127.0.0.1:{self.server.port}",
            f"Authorization: Bearer {self.token}",
            "Accept: application/json",
            *([header] if header else []),
            *(["Content-Type: application/json", f"Content-Length: {len(sent)}"] if sent else []),
        ]
        return Request("\r\n".join([*lines, "", ""]).encode() + sent, status, holds)

    def path(self, collection: str = stock.PRODUCTS, record_id: str = "") -> str:
        path = self.records.format(collection)
        return f"{path}/{record_id}" if record_id else path

    def get(self, number: int) -> Request:
        expected = self.ids[number], stock.title(number)
        return self.request(
            "GET",
            self.path(record_id=self.ids[number]),
            holds=lambda record: (record["id"], record["title"]) == expected,
        )

    def get_again(self, number: int) -> Request:
        """With the ETag of what was answered before."""
        path = self.path(record_id=self.ids[number])
        etag = servers.fetch(self.server.port, "GET", path, token=self.token)[0]["ETag"]
        return self.request("GET", path, status=304, header=f"If-None-Match: {etag}")

    def page(
        self,
        collection: str = stock.PRODUCTS,
        *,
        holds: Callable[[Any], bool],
        total: int | None = None,
        items: int = PER_PAGE,
        spelling: int = 0,
        **parameters: Any,
    ) -> Request:
        """A page with so many items, and with this total, or without any.

        Another ``spelling`` asks the same in other bytes, so that no answer can come from memory.
        """
        if total is None:
            parameters["skip_total"] = "true"
        counted = -1 if total is None else total
        query = spell({self.word(name): str(value) for name, value in parameters.items()}, spelling)

        def right(page: Any) -> bool:
            total, found = page[self.word("total")], page["items"]
            if self.growing:
                return len(found) == items and total >= counted
            return len(found) == items and total == counted and holds(found)

        return self.request("GET", f"{self.path(collection)}?{query}", holds=right)

    def newest(self, number: int = 1, *, total: int | None = None, spelling: int = 0) -> Request:
        """That page of all products, newest first."""
        first = stock.title(self.shelf.rows - 1 - (number - 1) * PER_PAGE)
        return self.page(
            page=number,
            per_page=PER_PAGE,
            sort="-created",
            total=total,
            spelling=spelling,
            items=min(PER_PAGE, self.shelf.rows - (number - 1) * PER_PAGE),
            holds=lambda items: items[0]["title"] == first,
        )

    def newest_from(self, cursor: str, spelling: int = 0) -> Request:
        """The page of all products that the cursor leads to, newest first."""
        query = spell({"per_page": str(PER_PAGE), "sort": "-created", "cursor": cursor}, spelling)
        return self.request("GET", f"{self.path()}?{query}", holds=lambda page: len(page["items"]) == PER_PAGE)

    def cursors(self, first: float, last: float) -> list[str]:
        """Cursors that lead to pages between these parts of all products (0.9: after nine of ten)."""
        found, cursor, passed = [], "", 0
        step = max(1, min(500, self.shelf.rows // 100))
        while cursor is not None and passed < last * self.shelf.rows:
            if passed >= first * self.shelf.rows:
                found.append(cursor)
            query = spell({"per_page": str(step), "sort": "-created", "cursor": cursor})
            page = servers.ask(self.server.port, "GET", f"{self.path()}?{query}", token=self.token)
            cursor, passed = page["next_cursor"], passed + len(page["items"])
        return found

    def dear(self, price: float, *, with_total: bool, spelling: int = 0) -> Request:
        """Active products from that price on, the dearest first."""
        matching = self.shelf.active_from(price)
        return self.page(
            filter=f"active = true && price >= {price}",
            sort="-price",
            per_page=PER_PAGE,
            total=matching if with_total else None,
            spelling=spelling,
            items=min(PER_PAGE, matching),
            holds=lambda items: not items or items[0]["price"] == self.shelf.dearest,
        )

    def own_notes(self, spelling: int = 0) -> Request:
        """The first page of a collection where the rule leaves only the member's records."""
        return self.page(
            stock.NOTES,
            sort="-created",
            per_page=PER_PAGE,
            total=self.shelf.of_member,
            spelling=spelling,
            items=min(PER_PAGE, self.shelf.of_member),
            holds=lambda items: all(item["owner"] == self.member for item in items),
        )

    def search(self, number: int) -> Request:
        """Articles with the rare word of that record in a text."""
        word, found = self.shelf.rare_word(number), self.shelf.of_word(number)
        wish: dict[str, Any] = (
            {"search": word} if self.full_text else {"filter": f"(title ~ '{word}' || body ~ '{word}')"}
        )
        return self.page(
            stock.ARTICLES,
            per_page=PER_PAGE,
            sort="-created",
            total=found,
            items=min(PER_PAGE, found),
            holds=lambda items: all(word in item["body"] for item in items),
            **wish,
        )

    def create(self, number: int, collection: str = stock.PRODUCTS) -> Request:
        record = self.shelf.record(number, self.member)
        del record["cost"]  # only admins write hidden fields
        return self.request(
            "POST",
            self.path(collection),
            status=self.created,
            body=record,
            holds=lambda made: made["title"] == record["title"] and bool(made["id"]),
        )

    def update(self, number: int, price: float) -> Request:
        return self.request(
            "PATCH",
            self.path(record_id=self.ids[number]),
            body={"price": price},
            holds=lambda record: record["id"] == self.ids[number] and record["price"] == price,
        )


def spell(parameters: Mapping[str, str], way: int = 0) -> str:
    """A query string. Where a bit of ``way`` is set, a letter or digit is written as %XX."""

    def written(text: str) -> str:
        nonlocal way
        signs = []
        for sign in text:
            if sign.isascii() and sign.isalnum():
                signs.append(f"%{ord(sign):02X}" if way & 1 else sign)
                way >>= 1
            else:
                signs.append(quote(sign, safe=""))
        return "".join(signs)

    return "&".join(f"{written(name)}={written(value)}" for name, value in parameters.items())
