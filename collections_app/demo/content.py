"""Rows of the files as records: converted where that is honest, left out and counted where not.

Every record has an id made from what it is about (``airport-SEA``,
``temperature-seattle-2010-01-01t05``), so that a second run finds what the
first one loaded.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from collections_app.demo import source

Record = dict[str, Any]

# How the files write "nothing". A real "NA" is not among their cities and states.
NOTHING = frozenset({"", "NA", "N/A", "NULL", "null", "-"})
# cars.json misspells its makers; the spellings found are kept with the maker.
SPELLINGS = {
    "chevroelt": "chevrolet",
    "chevy": "chevrolet",
    "maxda": "mazda",
    "mercedes": "mercedes-benz",
    "toyouta": "toyota",
    "vokswagen": "volkswagen",
    "vw": "volkswagen",
}
STATIONS = {
    "seattle": ("Seattle", "WA", "seattle-temps.csv", "seattle-weather.csv"),
    "san-francisco": ("San Francisco", "CA", "sf-temps.csv", None),
}
NEAR_KM = 100
_EARTH_KM = 6371.0


class Unusable(Exception):
    """A row that can't become a record; the message is the reason."""


@dataclass(slots=True)
class Notes:
    """What happened to the rows on the way: left out, by reason, and fields without a value."""

    left_out: Counter[str] = field(default_factory=Counter)
    missing: Counter[str] = field(default_factory=Counter)

    def gather(self, rows: list[Any], convert: Callable[[int, Any], Record]) -> Iterator[Record]:
        """The records of these rows; ``convert`` gets the row's number, from 1, and the row."""
        for number, row in enumerate(rows, 1):
            try:
                record = convert(number, row)
            except Unusable as reason:
                self.left_out[str(reason)] += 1
                continue
            for name, value in record.items():
                if value is None:
                    self.missing[name] += 1
            yield record


def cities(notes: Notes) -> Iterator[Record]:
    """The towns that airports.csv names, each once."""
    found: dict[str, Record] = {}
    for row in source.rows("airports.csv"):
        record_id = _city_id(row)
        if record_id is not None and record_id not in found:
            found[record_id] = {"id": record_id, "name": row["city"].strip(), "state": row["state"].strip()}
    yield from found.values()


def airports(notes: Notes) -> Iterator[Record]:
    def convert(number: int, row: dict[str, str]) -> Record:
        return {
            "id": f"airport-{_text(row['iata'], 'code')}",
            "iata": row["iata"],
            "name": _text(row["name"], "name"),
            "city": _city_id(row),
            "country": _text(row["country"], "country"),
            "location": _point(row),
            "source_line": number + 1,
        }

    return notes.gather(source.rows("airports.csv"), convert)


def stations(notes: Notes) -> Iterator[Record]:
    """Where the weather was measured: at the middle of the town's airports, the files say no more."""
    airports = [(row["iata"], _point(row)) for row in source.rows("airports.csv")]

    def convert(number: int, key: str) -> Record:
        name, state, *_ = STATIONS[key]
        city_id = f"city-{_slug(name)}-{state.lower()}"
        own = [_point(row) for row in source.rows("airports.csv") if _city_id(row) == city_id]
        middle = {axis: round(sum(point[axis] for point in own) / len(own), 6) for axis in ("lon", "lat")}
        near = sorted((_distance(middle, point), code) for code, point in airports)
        return {
            "id": f"station-{key}",
            "name": name,
            "city": city_id,
            "location": middle,
            "airports": [f"airport-{code}" for distance, code in near if distance <= NEAR_KM],
        }

    return notes.gather(list(STATIONS), convert)


def temperatures(notes: Notes) -> Iterator[Record]:
    """Hour by hour. The files give local time without a zone; it is kept as it stands."""
    for key, (_, _, name, _) in STATIONS.items():

        def convert(number: int, row: dict[str, str], key: str = key) -> Record:
            moment = _moment(row["date"], "%Y/%m/%d %H:%M", "%Y/%m/%d %H:%M:%S")
            return {
                "id": f"temperature-{key}-{moment:%Y-%m-%dt%H}",
                "station": f"station-{key}",
                "measured": f"{moment.isoformat()}Z",
                "fahrenheit": _number(row["temp"]),
            }

        yield from notes.gather(source.rows(name), convert)


def weather_days(notes: Notes) -> Iterator[Record]:
    for key, (_, _, _, name) in STATIONS.items():
        if name is None:
            continue

        def convert(number: int, row: dict[str, str], key: str = key) -> Record:
            day = _moment(row["date"], "%Y/%m/%d")
            return {
                "id": f"day-{key}-{day:%Y-%m-%d}",
                "station": f"station-{key}",
                "day": f"{day:%Y-%m-%d}",
                "kind": _text(row["weather"], "kind of weather"),
                "precipitation": _text(row["precipitation"], "precipitation"),
                "highest": _number(row["temp_max"]),
                "lowest": _number(row["temp_min"]),
                "wind": _number(row["wind"]),
                "wet": (_number(row["precipitation"]) or 0) > 0,
            }

        yield from notes.gather(source.rows(name), convert)


def makers(notes: Notes) -> Iterator[Record]:
    """The first word of each car's name, its misspellings brought together."""
    found: dict[str, Counter[str]] = {}
    for row in source.rows("cars.json"):
        found.setdefault(_maker(row), Counter())[row["Name"].split()[0]] += 1
    for name, spellings in sorted(found.items()):
        yield {"id": f"maker-{_slug(name)}", "name": name, "spellings": dict(spellings)}


def cars(notes: Notes) -> Iterator[Record]:
    """A car has no key of its own (two are the same but for a pound): its place in the file serves."""

    def convert(number: int, row: dict[str, Any]) -> Record:
        return {
            "id": f"car-{number:03}",
            "name": _text(row["Name"], "name"),
            "maker": f"maker-{_slug(_maker(row))}",
            "year": f"{_moment(row['Year'], '%Y-%m-%d'):%Y-%m-%d}",
            "origin": _text(row["Origin"], "origin"),
            "cylinders": row["Cylinders"],
            "horsepower": row["Horsepower"],
            "miles_per_gallon": row["Miles_per_Gallon"],
            "weight": row["Weight_in_lbs"],
            "acceleration": str(row["Acceleration"]),
            "source_row": row,
        }

    return notes.gather(source.rows("cars.json"), convert)


def stock_prices(notes: Notes) -> Iterator[Record]:
    def convert(number: int, row: dict[str, str]) -> Record:
        day = _moment(row["date"], "%b %d %Y")
        return {
            "id": f"price-{row['symbol'].lower()}-{day:%Y-%m}",
            "symbol": _text(row["symbol"], "symbol"),
            "day": f"{day:%Y-%m-%d}",
            "price": _text(row["price"], "price"),
        }

    return notes.gather(source.rows("stocks.csv"), convert)


def values(name: str, column: str) -> list[str]:
    """The different values of a column, sorted: what a select field offers."""
    return sorted({row[column].strip() for row in source.rows(name)} - NOTHING)


def _city_id(row: dict[str, str]) -> str | None:
    if row["city"].strip() in NOTHING or row["state"].strip() in NOTHING:
        return None
    return f"city-{_slug(row['city'])}-{row['state'].strip().lower()}"


def _maker(row: dict[str, Any]) -> str:
    first = str(row["Name"]).split()[0]
    return SPELLINGS.get(first, first)


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def _text(raw: str, what: str) -> str:
    text = raw.strip()
    if text in NOTHING:
        raise Unusable(f"no {what}")
    return text


def _number(raw: str) -> float | None:
    if raw.strip() in NOTHING:
        return None
    try:
        number = float(raw)
    except ValueError as error:
        raise Unusable("a number that can't be read") from error
    if not math.isfinite(number):
        raise Unusable("a number that can't be read")
    return number


def _moment(raw: str, *formats: str) -> datetime:
    for form in formats:
        try:
            return datetime.strptime(raw.strip(), form)
        except ValueError:
            continue
    raise Unusable("a date that can't be read")


def _point(row: dict[str, str]) -> dict[str, float]:
    lon, lat = _number(row["longitude"]), _number(row["latitude"])
    if lon is None or lat is None or not (-180 <= lon <= 180 and -90 <= lat <= 90):
        raise Unusable("no place on earth")
    return {"lon": lon, "lat": lat}


def _distance(a: dict[str, float], b: dict[str, float]) -> float:
    """Kilometres along the surface."""
    lat_a, lat_b = math.radians(a["lat"]), math.radians(b["lat"])
    half_lat, half_lon = (lat_b - lat_a) / 2, math.radians(b["lon"] - a["lon"]) / 2
    chord = math.sin(half_lat) ** 2 + math.cos(lat_a) * math.cos(lat_b) * math.sin(half_lon) ** 2
    return 2 * _EARTH_KM * math.asin(math.sqrt(chord))
