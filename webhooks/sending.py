"""Deliveries that are due are claimed, sent, and what came of them is written down.

The thread of the task does what concerns the database, the client's loop all that concerns the
network; they meet in a queue. Several processes may send at once, and any of them may die: see
``claiming``. An address that does not answer gets one request at a time until it does, so that it
keeps nobody waiting but itself.
"""

from __future__ import annotations

import logging
import queue
from collections import Counter
from concurrent.futures import Future
from time import monotonic, sleep
from uuid import UUID

from django.db import DatabaseError, models, transaction

from collections_app.schema import registry
from core import background, clock
from core.errors import NotFound
from webhooks import attempts, claiming, payload, planning
from webhooks.attempts import Attempt
from webhooks.models import Delivery, Webhook
from webhooks.outgoing import Answer
from webhooks.replaying import replay, replay_since

__all__ = ["replay", "replay_since", "send_due", "send_test"]

logger = logging.getLogger("fastcms.webhooks")

AT_ONCE = 256  # requests under way, of one sender
AT_ONCE_TO_ONE = 16  # to a webhook that answers well
AT_FIRST_TO_ONE = 2  # to one of which we don't know that yet
LOOK_SECONDS = 0.5  # how often we look for what others have written, while we wait for answers
WAIT_SECONDS = 0.02  # for more answers, so that they are stored together
END_SECONDS = 5.0  # for what is under way when the process is about to end
MOST_FAULTS = 60  # of the database, one after the other

CUT_OFF = Answer(error="cut off")

# How many requests at once a webhook has shown to bear; it outlives a call.
_width: dict[UUID, int] = {}


def send_due(seconds: float | None = None) -> int:
    """Send what is due, and what becomes due meanwhile; answers how many were delivered.

    Run by the task; several may run at once. Nothing is begun after ``seconds``, or when the process
    is about to end.
    """
    return _Sender(seconds).run()


def has_more() -> bool:
    """Whether something is due."""
    return bool(claiming.hungry(()))


def send_test(webhook: Webhook) -> Delivery:
    """One attempt, here and now, whatever state the webhook is in; what comes of it changes nothing of it.

    NotFound where the webhook is gone, also when it goes meanwhile. When the process is about to end, the
    attempt is cut off.
    """
    collection = registry.latest().get(webhook.collection_id)
    with transaction.atomic():
        if not Webhook.objects.select_for_update().filter(pk=webhook.pk):  # locked, for tests are numbered
            raise NotFound("Webhook not found")
        past = webhook.deliveries.filter(event_id=0).aggregate(last=models.Max("replay"))["last"]
        delivery = webhook.deliveries.create(
            event_id=0,
            event=payload.TEST,
            replay=0 if past is None else past + 1,
            status=Delivery.Status.SENDING,
            attempt=1,
            next_attempt_at=None,
        )
    body = payload.encode(payload.payload_of_test(collection, delivery.created))
    attempt = Attempt(delivery, webhook, attempts.headers(webhook, body, f"evt_test_{delivery.pk}"), body)
    answer = _answer_to(attempt)
    told = {
        **attempts.told(answer),
        "status": Delivery.Status.DELIVERED if answer.is_success else Delivery.Status.FAILED,
        "finished": clock.now(),
    }
    if not Delivery.objects.filter(pk=delivery.pk).update(**told):
        raise NotFound("Webhook not found")  # it was deleted meanwhile
    for name, value in told.items():
        setattr(delivery, name, value)
    return delivery


def _answer_to(attempt: Attempt) -> Answer:
    future = _post(attempt)
    while True:
        try:
            return future.result(LOOK_SECONDS)
        except TimeoutError:
            if background.is_ending():
                future.cancel()
                return CUT_OFF


def _post(attempt: Attempt) -> Future[Answer]:
    from webhooks import client  # 10 MB

    return client.shared().post(attempt.webhook.url, attempt.headers, attempt.body)


class _Sender:
    """One call of :func:`send_due`."""

    def __init__(self, seconds: float | None) -> None:
        self._until = None if seconds is None else monotonic() + seconds
        self._answers: queue.SimpleQueue[tuple[Attempt, Answer]] = queue.SimpleQueue()
        self._unstored: list[tuple[Attempt, Answer]] = []
        self._under_way: dict[int, tuple[Attempt, Future[Answer] | None]] = {}  # by the delivery's id
        self._to_one: Counter[UUID] = Counter()  # how many of them go to a webhook
        self._waiting: set[claiming.Record] = set()  # in which something waits for what is under way
        self._delivered = 0

    def run(self) -> int:
        looked, faults = float("-inf"), 0
        while True:
            self._collect(WAIT_SECONDS)
            is_ending = background.is_ending()
            if is_ending and self._under_way:
                self._end()
            look = is_ending or planning.news.is_set() or monotonic() - looked > LOOK_SECONDS
            if not (self._unstored or look):
                continue
            may_begin = not is_ending and (self._until is None or monotonic() < self._until)
            try:
                if look:
                    planning.news.clear()
                    looked = monotonic()
                    if may_begin:
                        planning.make_deliveries()
                begun = self._round(may_begin)
            except DatabaseError as fault:  # busy or away: what was answered is kept until it can be stored
                faults += 1
                if faults > MOST_FAULTS:
                    raise
                logger.warning("webhooks wait for the database: %s", fault)
                sleep(LOOK_SECONDS)
                continue
            faults = 0
            if not begun and not self._under_way and not (may_begin and planning.news.is_set()):
                return self._delivered

    def _collect(self, seconds: float) -> None:
        """Take in the answers that arrive within this time, if any is to come."""
        until = monotonic() + seconds
        while len(self._unstored) < len(self._under_way):
            try:
                self._unstored.append(self._answers.get(timeout=max(until - monotonic(), 0)))
            except queue.Empty:
                return

    def _round(self, may_begin: bool) -> int:
        """Store the answers, and begin what is due; answers how much was begun."""
        if not self._unstored and not (may_begin and self._hungry(Counter())):
            return 0
        now = clock.now()
        freed = Counter(attempt.webhook.pk for attempt, _ in self._unstored)
        waiting = set(self._waiting)
        claimed: list[tuple[Delivery, Webhook]] = []
        with transaction.atomic():
            for attempt, answer in self._unstored:
                delivery = attempt.delivery
                is_done = attempts.store(attempt, answer, now)
                record = delivery.webhook_id, delivery.record_id
                if record in waiting and not (is_done and claiming.release(delivery)):
                    waiting.discard(record)
            if may_begin:
                claimed = self._claim(freed, waiting)
        self._waiting = waiting
        self._forget_stored()
        for attempt in attempts.make(claimed) if claimed else ():
            self._send(attempt)
        return len(claimed)

    def _hungry(self, freed: Counter[UUID]) -> list[claiming.Hungry]:
        """Whom something may be sent to, those first who take it well."""
        full = [pk for pk, count in self._to_one.items() if count - freed[pk] >= _width.get(pk, AT_FIRST_TO_ONE)]
        return sorted(claiming.hungry(full), key=lambda one: -_width.get(one.webhook.pk, AT_FIRST_TO_ONE))

    def _claim(self, freed: Counter[UUID], waiting: set[claiming.Record]) -> list[tuple[Delivery, Webhook]]:
        room = AT_ONCE - len(self._under_way) + freed.total()
        claimed: list[tuple[Delivery, Webhook]] = []
        for one in self._hungry(freed) if room > 0 else ():
            webhook = one.webhook
            busy = self._to_one[webhook.pk] - freed[webhook.pk]
            width = _width.get(webhook.pk, AT_FIRST_TO_ONE) - busy
            rows, records = claiming.claim(one, min(width, room - len(claimed)))
            claimed += [(row, webhook) for row in rows]
            waiting |= records
            if len(claimed) >= room:
                break
        claiming.lease([row for row, _ in claimed])
        return claimed

    def _send(self, attempt: Attempt) -> None:
        future = None if attempt.problem else _post(attempt)
        self._under_way[attempt.delivery.pk] = attempt, future
        self._to_one[attempt.webhook.pk] += 1
        if future is None:
            self._answers.put((attempt, Answer(error=attempt.problem)))
        else:
            future.add_done_callback(lambda done: self._arrived(attempt, done))

    def _arrived(self, attempt: Attempt, done: Future[Answer]) -> None:
        """In the client's thread."""
        answer = CUT_OFF if done.cancelled() or done.exception() else done.result()
        pk = attempt.webhook.pk
        _width[pk] = min(2 * _width.get(pk, AT_FIRST_TO_ONE), AT_ONCE_TO_ONE) if answer.is_success else 1
        self._answers.put((attempt, answer))

    def _forget_stored(self) -> None:
        for attempt, answer in self._unstored:
            del self._under_way[attempt.delivery.pk]
            self._to_one[attempt.webhook.pk] -= 1
            self._delivered += answer.is_success
        self._unstored = []

    def _end(self) -> None:
        """Wait a little for what is under way, and give back what is not answered by then."""
        self._collect(END_SECONDS)
        answered = {attempt.delivery.pk for attempt, _ in self._unstored}
        rest = {pk: one for pk, one in self._under_way.items() if pk not in answered}
        with transaction.atomic():
            claiming.give_back([attempt.delivery for attempt, _ in rest.values()])
        for pk, (attempt, future) in rest.items():
            del self._under_way[pk]
            self._to_one[attempt.webhook.pk] -= 1
            if future is not None:
                future.cancel()
