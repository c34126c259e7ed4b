"""``manage.py demo``: real data in, once, and nobody else's touched."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from accounts.principals import ANONYMOUS, SYSTEM
from collections_app.demo import load, source
from collections_app.demo.blueprint import all_collections
from collections_app.demo.content import Notes
from collections_app.models import Event
from collections_app.schema import registry, service
from collections_app.tests.fixtures import Records, person
from collections_app.tests.web import nothing_changes
from core.errors import Forbidden, NotFound, Unauthorized

pytestmark = [pytest.mark.engine, pytest.mark.usefixtures("schema_db")]

SAMPLE = 20
RecordsOf = Callable[..., Records]


def demo(*options: str) -> str:
    out = StringIO()
    call_command("demo", *options, stdout=out)
    return out.getvalue()


@pytest.fixture
def loaded() -> str:
    return demo("--sample", str(SAMPLE))


def names() -> set[str]:
    return {collection.name for collection in registry.latest().by_id.values()}


def test_related_collections_are_there_with_their_records(loaded: str, records: RecordsOf) -> None:
    assert names() >= {"cities", "airports", "stations", "temperatures", "weather_days", "cars", "trips"}
    assert records("airports").page("per_page=1")["total"] == 3376
    seattle = records("airports").get("airport-SEA", "expand=city")
    assert seattle["expand"]["city"]["name"] == "Seattle"
    assert seattle["location"] == {"lon": -122.3093131, "lat": 47.44898194}
    assert records("temperatures").page("per_page=1")["total"] == SAMPLE


def test_a_station_lists_the_airports_around_it_nearest_first(loaded: str, records: RecordsOf) -> None:
    station = records("stations").get("station-seattle", "expand=airports")
    assert {"airport-BFI", "airport-SEA"} == set(station["airports"][:2])
    assert len(station["airports"]) > 10
    assert [airport["id"] for airport in station["expand"]["airports"]] == station["airports"]


def test_untidy_values_become_empty_fields_and_are_counted(loaded: str, records: RecordsOf) -> None:
    assert records("airports").get("airport-CLD")["city"] is None
    assert records("airports").get("airport-00M")["iata"] == "00M"
    assert "airports, without a value: city (12)" in loaded
    assert records("makers").get("maker-volkswagen")["spellings"] == {
        "volkswagen": 16, "vw": 6, "vokswagen": 1
    }  # fmt: skip


def test_a_second_run_changes_nothing_and_says_so(loaded: str) -> None:
    with nothing_changes():
        again = demo("--sample", str(SAMPLE))
    assert "Nothing was changed" in again


def test_a_second_run_leaves_what_people_changed(loaded: str, records: RecordsOf) -> None:
    records("cars").update("car-001", {"name": "my own words"})
    airports = service.as_json(registry.latest().get("airports"))
    fields = [{**field, "name": "title"} if field["name"] == "name" else field for field in airports["schema"]]
    service.collection_update(actor=SYSTEM, name_or_id="airports", payload={"name": "airfields", "schema": fields})
    records("airfields").delete("airport-00M")
    again = demo("--sample", str(SAMPLE))
    assert "Added 1 records" in again and "airports" not in names()
    assert records("airfields").get("airport-00M")["title"] == "Thigpen"
    assert records("cars").get("car-001")["name"] == "my own words"


def test_a_run_that_was_killed_is_completed_without_doubles(
    records: RecordsOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    steps = iter(range(100))

    def die(count: int) -> None:
        if next(steps) == 4:
            raise Killed

    with pytest.raises(Killed):
        list(load.carry_out(load.plan(SAMPLE), die))
    assert "stations" not in names()
    demo("--sample", str(SAMPLE))
    assert records("airports").page("per_page=1")["total"] == 3376
    created = Event.objects.filter(type="record.created")
    assert created.count() == created.values("collection_id", "record_id").distinct().count()


def test_a_sample_is_completed_by_a_whole_run(loaded: str, records: RecordsOf) -> None:
    plans = {plan.blueprint.name: plan for plan in load.plan(None)}
    assert len(plans["cars"].missing) == 406 - SAMPLE
    assert not plans["airports"].missing


def test_somebody_elses_collection_is_refused_in_words_before_anything_changes(
    make_collection: Callable[..., Any],
) -> None:
    make_collection("cars", name="text")
    for options in ((), ("--reset",)):
        with nothing_changes(), pytest.raises(CommandError, match="'cars', and it is not the demo's"):
            demo(*options)


def test_reset_drops_only_the_demo(loaded: str, make_collection: Callable[..., Any], records: RecordsOf) -> None:
    make_collection("mine", title="text")
    kept = records("mine").create(title="kept")
    records("cars").update("car-001", {"name": "my own words"})
    out = demo("--reset", "--sample", "3")
    assert out.startswith("Removed: trips,")
    assert records("mine").get(kept["id"])["title"] == "kept"
    assert records("cars").get("car-001")["name"] == "chevrolet chevelle malibu"
    assert records("cars").page()["total"] == 3


def test_reset_is_refused_while_another_collection_refers_to_the_demo(
    loaded: str, make_collection: Callable[..., Any]
) -> None:
    make_collection("pilots", home={"type": "relation", "relation": {"collection_id": "airports"}})
    with nothing_changes(), pytest.raises(CommandError, match=r"still referenced by pilots\.home"):
        demo("--reset")


def test_without_the_data_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise source.SourceMissing("pip install vega_datasets")

    monkeypatch.setattr(source, "folder", missing)
    source.rows.cache_clear()
    with nothing_changes(), pytest.raises(CommandError, match="pip install vega_datasets"):
        demo()


def test_each_kind_of_rule_is_at_work(loaded: str, records: RecordsOf) -> None:
    ann, bob = person("ann"), person("bob")
    assert records("airports", ANONYMOUS).page()["total"] == 3376
    with pytest.raises(Unauthorized):
        records("temperatures", ANONYMOUS).page()
    assert records("temperatures", ann).page()["total"] == SAMPLE
    with pytest.raises(Forbidden):
        records("stock_prices", ann).page()
    trip = records("trips", ann).create(title="North", owner="ann", stops=["airport-SEA", "airport-ANC"])
    assert records("trips", bob).page()["items"] == []
    with pytest.raises(NotFound):
        records("trips", bob).get(trip["id"])
    with nothing_changes(), pytest.raises(Forbidden):
        records("trips", bob).create(title="Not mine", owner="ann")
    with nothing_changes(), pytest.raises(Unauthorized):
        records("cars", ANONYMOUS).create(name="x")


def test_hidden_fields_are_for_admins(loaded: str, records: RecordsOf) -> None:
    assert "source_row" not in records("cars", person("ann")).get("car-001")
    assert records("cars").get("car-001")["source_row"]["Name"] == "chevrolet chevelle malibu"


def test_all_of_the_data_makes_records(records: RecordsOf) -> None:
    counts = {}
    for blueprint in all_collections():
        found = list(blueprint.records(Notes())) if blueprint.records else []
        counts[blueprint.name] = len(found)
        assert len({record["id"] for record in found}) == len(found), blueprint.name
    assert sum(counts.values()) > 20_000


def test_what_the_summary_prints_can_be_asked(loaded: str, records: RecordsOf) -> None:
    """The queries of the printed lines; that curl runs them too is tried by hand."""
    found = records("airports", ANONYMOUS).items(
        "sort=name&fields=iata,name&filter=city.state%20%3D%20%22AK%22%20%26%26%20name%20~%20%22lake%22"
    )
    assert found and all(set(item) == {"iata", "name"} and "lake" in item["name"].lower() for item in found)
    assert records("cars", ANONYMOUS).page("search=toyota&sort=-horsepower&expand=maker&per_page=3")
    assert records("stations", ANONYMOUS).get("station-seattle", "expand=airports.city")["expand"]
    hottest = records("temperatures", person("ann")).page("sort=-fahrenheit&per_page=5&expand=station")
    assert len(hottest["items"]) == 5
