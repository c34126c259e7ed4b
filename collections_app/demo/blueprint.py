"""The demo's collections: one of each thing that collections can do."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from collections_app.demo import content
from collections_app.demo.content import Notes, Record

EVERYONE = None
SIGNED_IN = "@request.auth.id != ''"
OWNER = "@request.auth.id != '' && owner = @request.auth.id"


@dataclass(frozen=True, slots=True)
class Blueprint:
    """A collection to be, without its id: ``records`` makes its records, keyed by field names."""

    name: str
    fields: tuple[dict[str, Any], ...]
    about: str
    records: Callable[[Notes], Iterator[Record]] | None = None
    rules: tuple[tuple[str, str | None], ...] = ()
    indexes: tuple[dict[str, Any], ...] = ()
    search: tuple[str, ...] = ()
    series: bool = False  # a series of measurements: nothing refers to its records

    def payload(self) -> dict[str, Any]:
        """What ``collection_create`` takes. Relations name their collections by the blueprint's name."""
        return {
            "name": self.name,
            "schema": [{"id": self.field_id(field["name"]), **field} for field in self.fields],
            "indexes": list(self.indexes),
            "options": {"search": list(self.search)} if self.search else {},
            **dict(self.rules),
        }

    def field_id(self, name: str) -> str:
        """The same in every installation. It is the mark of the demo: ids outlive every rename."""
        return "fdemo" + hashlib.blake2b(f"{self.name}.{name}".encode(), digest_size=6).hexdigest()

    @property
    def mark(self) -> str:
        return self.field_id(self.fields[0]["name"])


def all_collections() -> list[Blueprint]:
    """In an order in which each can be made and filled after those before it."""
    reading = (("list_rule", EVERYONE), ("view_rule", EVERYONE))
    return [
        Blueprint(
            name="cities",
            about="towns with an airport",
            records=content.cities,
            rules=reading,
            fields=(
                _field("name", "text", required=True, max_length=200),
                _choice("state", "airports.csv", "state", required=True),
            ),
            indexes=({"fields": ["name", "state"], "unique": True},),
        ),
        Blueprint(
            name="airports",
            about="public to read, full-text search",
            records=content.airports,
            rules=reading,
            fields=(
                _field("iata", "text", required=True, unique=True, max_length=4),
                _field("name", "text", required=True),
                _to("city", "cities", display_fields=["name", "state"]),
                _choice("country", "airports.csv", "country"),
                _field("location", "geo_point"),
                _field("source_line", "integer", hidden=True, help="The line of airports.csv; admins only."),
            ),
            indexes=({"fields": ["country", "name"]},),
            search=("name", "iata"),
        ),
        Blueprint(
            name="stations",
            about=f"weather stations, each with the airports within {content.NEAR_KM} km, nearest first",
            records=content.stations,
            rules=reading,
            fields=(
                _field("name", "text", required=True, unique=True),
                _to("city", "cities"),
                _field("location", "geo_point", help="The middle of the town's airports."),
                _to("airports", "airports", type="many-to-many"),
            ),
        ),
        Blueprint(
            name="temperatures",
            about="hour by hour; for whoever is signed in",
            records=content.temperatures,
            series=True,
            rules=(("list_rule", SIGNED_IN), ("view_rule", SIGNED_IN)),
            fields=(
                _to("station", "stations", required=True, cascade_delete=True),
                _field("measured", "datetime", required=True, help="Local time, as the file has it."),
                _field("fahrenheit", "number"),
            ),
            indexes=({"fields": ["station", "measured"], "unique": True}, {"fields": ["fahrenheit"]}),
        ),
        Blueprint(
            name="weather_days",
            about="day by day; group by kind, month or wet",
            records=content.weather_days,
            series=True,
            rules=reading,
            fields=(
                _to("station", "stations", required=True, cascade_delete=True),
                _field("day", "date", required=True),
                _choice("kind", "seattle-weather.csv", "weather"),
                _field("precipitation", "decimal", help="Millimetres."),
                _field("highest", "number", help="Degrees Celsius."),
                _field("lowest", "number", help="Degrees Celsius."),
                _field("wind", "number", help="Metres per second."),
                _field("wet", "bool"),
            ),
            indexes=({"fields": ["station", "day"], "unique": True}, {"fields": ["kind", "day"]}),
        ),
        Blueprint(
            name="makers",
            about="who made the cars, with the spellings that the file has for them",
            records=content.makers,
            rules=reading,
            fields=(
                _field("name", "text", required=True, unique=True),
                _field("spellings", "json"),
            ),
        ),
        Blueprint(
            name="cars",
            about="public to read, anybody signed in may add one",
            records=content.cars,
            series=True,
            rules=(*reading, ("create_rule", SIGNED_IN)),
            fields=(
                _field("name", "text", required=True),
                _to("maker", "makers", display_fields=["name"]),
                _field("year", "date"),
                _choice("origin", "cars.json", "Origin"),
                _field("cylinders", "integer", min=1, max=16),
                _field("horsepower", "integer", min=0),
                _field("miles_per_gallon", "number", min=0),
                _field("weight", "integer", help="Pounds."),
                _field("acceleration", "decimal", help="Seconds from 0 to 60 miles an hour."),
                _field("source_row", "json", hidden=True, help="The row of cars.json; admins only."),
            ),
            indexes=({"fields": ["origin", "horsepower"]},),
            search=("name",),
        ),
        Blueprint(
            name="stock_prices",
            about="without rules, so for admins only",
            records=content.stock_prices,
            series=True,
            fields=(
                _choice("symbol", "stocks.csv", "symbol", required=True),
                _field("day", "date", required=True),
                _field("price", "decimal", required=True),
            ),
            indexes=({"fields": ["symbol", "day"], "unique": True},),
        ),
        Blueprint(
            name="trips",
            about="empty: everybody's own, seen by nobody else but admins",
            rules=tuple((rule, OWNER) for rule in
                        ("list_rule", "view_rule", "create_rule", "update_rule", "delete_rule")),
            fields=(
                _field("title", "text", required=True, max_length=200),
                _field("owner", "text", required=True, help="The id of the account that it belongs to."),
                _to("stops", "airports", type="many-to-many", max_select=50),
                _field("starts", "datetime"),
                _field("budget", "decimal", min="0"),
                _field("notes", "markdown"),
            ),
        ),
    ]  # fmt: skip


def _field(name: str, type_name: str, **options: Any) -> dict[str, Any]:
    """A field of the payload; what belongs under ``validation`` goes there."""
    keys = ("required", "unique", "min", "max", "max_length")
    validation = {key: options.pop(key) for key in keys if key in options}
    return {"name": name, "type": type_name, "validation": validation, **options}


def _choice(name: str, file: str, column: str, *, required: bool = False) -> dict[str, Any]:
    """A select that offers what the file has in that column."""
    return _field(name, "select", required=required, select={"values": content.values(file, column)})


def _to(name: str, collection: str, *, required: bool = False, **relation: Any) -> dict[str, Any]:
    return _field(name, "relation", required=required, relation={"collection_id": collection, **relation})
