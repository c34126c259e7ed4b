"""The Celery application: what workers listen to, and what beat calls."""

from __future__ import annotations

from pathlib import Path

from celery import Celery
from celery.beat import ScheduleEntry

from cms_project.celery import Rounds, app
from core import background


def test_a_worker_that_is_told_nothing_else_listens_to_the_queues_of_all_tasks() -> None:
    app.finalize()
    queues = app.amqp.queues.consume_from
    assert set(queues) == {"celery", *background.tasks}
    assert all(queue.exchange.name == queue.routing_key == name for name, queue in queues.items())


def test_beat_calls_each_task_in_its_queue() -> None:
    app.finalize()
    called = {
        entry["task"]: (entry["schedule"], entry["options"]["queue"]) for entry in app.conf.beat_schedule.values()
    }
    assert called == {name: (task.every, name) for name, task in background.tasks.items()}
    assert app.conf.beat_scheduler == f"{Rounds.__module__}:{Rounds.__name__}"


def test_beat_makes_no_round_of_a_task_whose_call_waits(tmp_path: Path) -> None:
    with Celery("test", broker="memory://", set_as_current=False) as broker:
        rounds = Rounds(app=broker, schedule_filename=str(tmp_path / "beat"), lazy=True)
        entry = ScheduleEntry(name="q", task="q", schedule=1, options={"queue": "q"}, app=broker)
        with broker.connection_for_read() as connection, connection.SimpleQueue("q") as queue:
            for _ in range(10):
                rounds.apply_entry(entry)
            assert queue.qsize() == 1
            queue.get(block=False).ack()
            rounds.apply_entry(entry)
            assert queue.qsize() == 1
