"""Who sees which event: the one rule of lists, asked of the record before and after the change.

Subscribers who see the same are a :class:`Group`; each group is decided about once for
each event, and a frame is made once for all groups that get the same.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from time import monotonic
from types import MappingProxyType
from typing import Any

from django.conf import settings
from django.db import DatabaseError

from accounts.principals import Principal
from collections_app import events, rules
from collections_app.events import Logged
from collections_app.records import access, as_if, codec
from collections_app.rules import Rule, RuleEnv, RuleError
from collections_app.rules.prepared import Decision, prepared
from collections_app.schema import registry
from collections_app.schema.definition import CollectionDef
from collections_app.schema.snapshot import Snapshot
from core import database
from core.errors import BadRequest, DomainError, NotFound
from realtime import frames
from realtime.frames import Frame

CHANGED = "The collection was changed meanwhile. Read again what you know of it."
LOST = "The log does not reach back that far. Read again what you know."
DELETED = "The collection was deleted."
UNREADABLE = "The collection was changed, and the query can't be read any more."
TOO_SLOW = "The rules for this take too long to be asked of each event. Read again what you know."
SLOW_QUERY = "The query takes too long to be asked of each event. Read again what you know."
LOOK_SECONDS = 0.25  # then what was found so far is handed out
TURN_SECONDS = 0.1  # likewise, where others can be left behind
QUERY_SECONDS = 0.1  # for one event; the rule of a collection may take as long as a list
STOP_SECONDS = 0.5  # then a query is stopped in the middle
# What it takes to decide for a group, and who is in whose way: nothing but the record; a question of the
# list rule to the database, which the admin of the collection has chosen; one that a client has chosen.
MEMORY, RULE, QUERY = RANKS = range(3)
_SLOW_SECONDS = 60.0  # until a slow one gets another chance
_MAX_SLOW = 1000

logger = logging.getLogger("fastcms.realtime")

_slow: dict[tuple[str, str], float] = {}  # collection and query ("" for its rule): until when


class Group:
    """Everybody who asks for the same and may see the same. ``collection_id`` None: all collections."""

    __slots__ = ("audience", "collection_id", "plans", "principal", "query", "snapshot")

    def __init__(self, collection_id: str | None, query: str, audience: Hashable, principal: Principal) -> None:
        self.collection_id, self.query, self.audience, self.principal = collection_id, query, audience, principal
        self.snapshot: Snapshot | None = None
        self.plans: dict[str, _Plan | None] = {}  # by collection, on that snapshot

    @property
    def key(self) -> Hashable:
        """Equal for those who are one group."""
        if "@request" in self.query and self.principal.is_admin:
            # All admins see the same, and yet they are not the same.
            who = self.principal
            asker = (who.key, who.email, who.role, who.verified, repr(who.fields))
            return (self.collection_id, self.query, self.audience, asker)
        return (self.collection_id, self.query, self.audience)


@dataclass(slots=True)
class Seen:
    """What a look at the log found: up to which event, which frames for whom, and whose collection is gone.

    ``lost``: the log does not go on from where they were, but from ``position``. ``refused``
    are those who can't be told any more, and why.

    Some have not come that far, but only to the event named: those ``behind``, for the time was
    up, and those ``beyond``, who are of that higher rank. ``seconds`` is what the queries of groups took.
    """

    position: int
    frames: list[tuple[Group, Frame]] = field(default_factory=list)
    gone: frozenset[str] = frozenset()
    refused: dict[Group, str] = field(default_factory=dict)
    lost: bool = False
    behind: dict[Group, int] = field(default_factory=dict)
    beyond: dict[Group, tuple[int, int]] = field(default_factory=dict)
    seconds: dict[Group, float] = field(default_factory=dict)


class _Refused(Exception):
    """They can't be told of the event, for this reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def look(
    after: int,
    groups: Sequence[Group],
    *,
    through: int | None = None,
    limit: int = 500,
    rank: int = QUERY,
    known: Mapping[Group, int] = MappingProxyType({}),
    may_leave: bool = False,
) -> Seen:
    """The next events of the log as these groups see them. In a thread: it reads the database.

    ``through`` is an event that is known to be in the log. Up to ``rank`` it is decided here; up to
    which event some know more than ``after`` says ``known``. With ``may_leave`` those who come late in
    the order of the groups are left behind when the time is up, but for the first.

    Raises what the database does when it can't answer just now; to be tried again.
    """

    def unit(snapshot: Snapshot) -> Seen:
        until = monotonic() + (TURN_SECONDS if may_leave else LOOK_SECONDS)
        # It may fall back for a moment, when somebody begins to write.
        newest_known = 0 if through is None else min(through, events.settled_id())
        logged = events.read(after, limit, through)
        trimmed, newest = events.extent()
        if not trimmed <= after <= newest:
            return Seen(events.settled_id() if through is None else through, lost=True)
        if not logged:
            return Seen(max(after, newest_known))
        seen = Seen(after)
        sight = _Sight(snapshot, groups, seen, rank, known, until if may_leave else None)
        for event in logged:
            sight.show(event)
            seen.position = event.id
            if monotonic() > until:
                break
        else:
            if len(logged) < limit:
                seen.position = max(seen.position, newest_known)
        seen.gone = frozenset(
            one.collection_id for one in logged if one.type == "collection.deleted" and one.id <= seen.position
        )
        return seen

    with database.reading() as session:
        try:
            return registry.with_schema(unit, reads=True)
        finally:
            session.limit_each(None)


def check(collection_id: str | None, query: str, principal: Principal, snapshot: Snapshot) -> None:
    """Refuse what nobody could be shown anything for.

    Raises Unauthorized or Forbidden (list rule), NotFound (a view), BadRequest (the query can't be read, names
    what no collection has that the caller may list, or takes too long).
    """
    if collection_id is not None:
        collection = snapshot.get(collection_id)
        if collection.type == "view":
            access.condition(collection, "list", RuleEnv(principal=principal), snapshot)
            raise NotFound(f"{collection.name!r} is a view, which has no events; subscribe to what it reads.")
        _check(collection, query, principal, snapshot)
        return
    problem: BadRequest | None = None
    for collection in snapshot.by_id.values() if query else ():
        if collection.type == "view":
            continue
        try:
            _check(collection, query, principal, snapshot)
        except BadRequest as fault:
            problem = fault
        except DomainError:
            continue
        else:
            return
    if problem is not None:
        raise problem


def _check(collection: CollectionDef, query: str, principal: Principal, snapshot: Snapshot) -> None:
    access.condition(collection, "list", RuleEnv(principal=principal), snapshot)
    if query:
        rules.compile_filter(query, collection, snapshot, principal)
        if _is_slow(collection, query):
            raise BadRequest("The query takes too long to be asked of each event.")


class _Plan:
    """How a group decides about the records of one collection: what needs the record alone, then what asks
    the database."""

    __slots__ = ("env", "is_admin", "local", "query", "rank", "refusal", "rule")

    def __init__(self, env: RuleEnv, *, refusal: str = "") -> None:
        self.env, self.is_admin = env, env.principal.is_admin
        self.local: list[Decision] = []
        self.rule: Rule | None = None
        self.query: Rule | None = None
        self.rank = MEMORY
        self.refusal = refusal


class _Side:
    """The record before or after the event, and what it is asked as, once for all groups."""

    __slots__ = ("_collection", "_snapshot", "_state", "listed", "record")

    def __init__(self, record: Mapping[str, Any], collection: CollectionDef, snapshot: Snapshot | None) -> None:
        self.record = {**record, "collection": collection.name}
        self.listed: dict[Hashable, bool] = {}  # whether the rule holds, where that took a question, by audience
        self._collection, self._snapshot = collection, snapshot
        self._state: as_if.State | None = None

    @property
    def state(self) -> as_if.State:
        if self._state is None:
            besides = as_if.gone_with(self._collection, self.record, self._snapshot) if self._snapshot else ()
            self._state = as_if.State(self._collection, self.record, besides)
        return self._state


class _Sight:
    """What groups see of events, on one snapshot."""

    def __init__(
        self,
        snapshot: Snapshot,
        groups: Sequence[Group],
        seen: Seen,
        rank: int,
        known: Mapping[Group, int],
        until: float | None,
    ) -> None:
        self._seen, self._rank, self._known, self._until = seen, rank, known, until
        self._snapshot = snapshot
        self._has_asked = False
        self._left: set[Group] = set()  # who are shown nothing more
        self._everywhere = [group for group in groups if group.collection_id is None]
        self._of: dict[str, list[Group]] = {}
        self._told_to_read: set[tuple[Group, str]] = set()  # once in a look: then they know all that is in it
        self._fleeting: dict[tuple[Group, str], _Plan] = {}  # plans that are good for one moment
        for group in groups:
            if group.snapshot is not snapshot:
                group.snapshot, group.plans = snapshot, {}
            if group.collection_id is not None:
                self._of.setdefault(group.collection_id, []).append(group)

    def show(self, event: Logged) -> None:
        """Make the frames of the event."""
        groups = self._everywhere + self._of.get(event.collection_id, [])
        if self._left:
            groups = [group for group in groups if group not in self._left]
        if self._known:
            groups = [group for group in groups if self._known.get(group, 0) < event.id]
        if not groups:
            return
        if event.type.startswith("collection."):
            self._show_schema(event, groups)
            return
        collection = self._snapshot.by_id.get(event.collection_id)
        if collection is None:
            return
        if not _names_fit(event, collection, self._snapshot):
            # They may mean other fields by now, or hidden ones.
            self._have_read(event, collection, groups, CHANGED)
            return
        found = self._seen.frames
        made = len(found)
        try:
            self._show_record(event, collection, groups)
        except (DatabaseError, DomainError):
            raise
        except Exception:
            logger.exception("event %d can't be shown; its subscribers are told to read again", event.id)
            del found[made:]
            self._have_read(event, collection, [group for group in groups if group not in self._left], CHANGED)

    def _show_record(self, event: Logged, collection: CollectionDef, groups: Sequence[Group]) -> None:
        # A record that is there refers to what is there; one that was may have gone together with others.
        before = None if event.previous is None else _Side(event.previous, collection, self._snapshot)
        after = None if event.data is None else _Side(event.data, collection, None)
        made: dict[tuple[str, bool], Frame] = {}
        found = self._seen.frames
        for group in groups:
            try:
                plan = group.plans[collection.id]
            except KeyError:
                plan = self._plan(collection, group)
            if plan is None:
                continue
            if plan.rank and not self._may_ask(group, plan):
                continue
            try:
                if plan.refusal:
                    raise _Refused(plan.refusal)
                was = before is not None and self._sees(group, plan, before, collection)
                is_ = after is not None and self._sees(group, plan, after, collection)
            except _Refused as fault:
                self._have_read(event, collection, [group], fault.reason)
                if fault.reason is not TOO_SLOW:
                    self._seen.refused[group] = fault.reason
                    self._left.add(group)
                continue
            except (DatabaseError, DomainError):
                raise
            except Exception:  # noqa: BLE001 - one rule that can't be asked must not keep the log from others
                self._note(collection, group)
                continue
            if is_:
                key = ("record.updated" if was else "record.created", plan.is_admin)
            elif was:
                key = ("record.deleted", False)
            else:
                continue
            frame = made.get(key)
            if frame is None:
                frame = made[key] = _frame(key[0], event, collection, after if is_ else None, admin=plan.is_admin)
            found.append((group, frame))

    def _may_ask(self, group: Group, plan: _Plan) -> bool:
        """Whether the database is asked for them here and now."""
        seen = self._seen
        if plan.rank > self._rank:
            seen.beyond[group] = (plan.rank, seen.position)
        elif self._has_asked and self._until is not None and monotonic() > self._until:
            seen.behind[group] = seen.position
        else:
            self._has_asked = True
            return True
        self._left.add(group)
        return False

    def _sees(self, group: Group, plan: _Plan, side: _Side, collection: CollectionDef) -> bool:
        for decision in plan.local:
            if not decision(side.record):
                return False
        if plan.rule is not None:
            listed = side.listed.get(group.audience)
            if listed is None:
                listed = side.listed[group.audience] = self._ask(side, plan.rule, plan.env, collection, "")
            if not listed:
                return False
        if plan.query is None:
            return True
        began = monotonic()
        try:
            return self._ask(side, plan.query, plan.env, collection, group.query)
        finally:
            seconds = self._seen.seconds
            seconds[group] = seconds.get(group, 0.0) + monotonic() - began

    def _ask(self, side: _Side, rule: Rule, env: RuleEnv, collection: CollectionDef, query: str) -> bool:
        """Raises _Refused for what takes too long; then it is not asked again for a while, for anybody."""
        reason = SLOW_QUERY if query else TOO_SLOW
        if _is_slow(collection, query):
            raise _Refused(reason)
        fault: BadRequest | None = None
        holds = False
        usual = settings.QUERY_TIMEOUT_MS / 1000
        with database.reading() as session:
            session.limit_each(usual)
            state = side.state
            session.limit_each(min(usual, STOP_SECONDS) if query else usual)
        began = monotonic()
        try:
            holds = state.satisfies(rule, env)
        except BadRequest as late:
            fault = late
        if fault is None and not (query and monotonic() - began > QUERY_SECONDS):
            return holds
        _remember_slow(collection, query)
        raise _Refused(reason) from fault

    def _plan(self, collection: CollectionDef, group: Group) -> _Plan | None:
        """None where nothing of the collection is for them."""
        known = self._fleeting.get((group, collection.id))
        if known is not None:
            return known
        env = RuleEnv(principal=group.principal)
        plan, is_timeless = self._made_plan(collection, group, env)
        if is_timeless or plan is None:
            group.plans[collection.id] = plan
        else:
            self._fleeting[group, collection.id] = plan
        return plan

    def _made_plan(self, collection: CollectionDef, group: Group, env: RuleEnv) -> tuple[_Plan | None, bool]:
        """The plan, and whether it is good for as long as the schema holds."""
        verdict = access.verdict(collection, "list", env, self._snapshot)
        if verdict is False:
            return None, True
        rule = query = None
        if verdict is None:
            rule = access.rule(collection, "list", self._snapshot)
            assert rule is not None
        if group.query:
            try:
                query = rules.compile_filter(group.query, collection, self._snapshot, group.principal)
            except RuleError:
                # Of many collections, those that it fits; of one, it did when they came.
                return (None if group.collection_id is None else _Plan(env, refusal=UNREADABLE)), True
        plan = _Plan(env)
        given = [one for one in (rule, query) if one is not None]
        plan.local = [prepared(one, env) for one in given if one.local]
        if rule is not None and not rule.local:
            plan.rule, plan.rank = rule, RULE
        if query is not None and not query.local:
            plan.query, plan.rank = query, QUERY
        return plan, all(one.timeless for one in given)

    def _have_read(self, event: Logged, collection: CollectionDef, groups: Sequence[Group], reason: str) -> None:
        """Have them read again what they know of the collection, if they may know anything."""
        frame: Frame | None = None
        for group in groups:
            key = (group, collection.id)
            if key in self._told_to_read:
                continue
            if access.verdict(collection, "list", RuleEnv(principal=group.principal), self._snapshot) is not False:
                self._told_to_read.add(key)
                frame = frame or frames.reset(event.id, collection.name, reason)
                self._seen.frames.append((group, frame))

    def _show_schema(self, event: Logged, groups: Sequence[Group]) -> None:
        frame: Frame | None = None
        for group in groups:
            if group.principal.is_admin and group.principal.reaches(event.collection_id):
                frame = frame or Frame(
                    event.type,
                    collection=event.collection,
                    record_id=event.collection_id,
                    data=event.data or {"id": event.collection_id, "name": event.collection},
                    timestamp=event.timestamp,
                    event_id=event.id,
                )
                self._seen.frames.append((group, frame))

    def _note(self, collection: CollectionDef, group: Group) -> None:
        """Log it once for each version of the schema."""
        noted: set[tuple[str, str]] = self._snapshot.memo.setdefault("rules that failed", set())
        if (collection.id, group.query) not in noted and len(noted) < _MAX_SLOW:
            noted.add((collection.id, group.query))
            logger.exception("whether events of %s are for somebody can't be decided; they are not", collection.name)


def _names_fit(event: Logged, collection: CollectionDef, snapshot: Snapshot) -> bool:
    """Whether the event's record has the names, and the kinds of values, that the collection has now."""
    if event.revision == collection.revision:
        return True
    key = ("fits", collection.id, event.revision)
    if key not in snapshot.memo:
        then = events.definition_at(collection.id, event.revision)
        now = {"schema": [one.as_json() for one in collection.own_fields]}
        snapshot.memo[key] = then is None or _shape(then) == _shape(now)
    fits: bool = snapshot.memo[key]
    return fits


def _shape(definition: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What of a definition says what is in a record, and who may read it."""
    beside_the_point = {"validation", "help"}
    return [{key: one[key] for key in one if key not in beside_the_point} for one in definition["schema"]]


def _frame(kind: str, event: Logged, collection: CollectionDef, side: _Side | None, *, admin: bool) -> Frame:
    """``side`` is the record as it is to be shown; without it only its id is told."""
    return Frame(
        kind,
        collection=collection.name,
        record_id=event.record_id,
        data={"id": event.record_id} if side is None else codec.public(collection, side.record, admin=admin),
        timestamp=event.timestamp,
        event_id=event.id,
    )


def _is_slow(collection: CollectionDef, query: str) -> bool:
    until = _slow.get((collection.id, query)) if _slow else None
    return until is not None and monotonic() < until


def _remember_slow(collection: CollectionDef, query: str) -> None:
    what = "a query" if query else "the list rule"
    logger.warning("%s of %s takes too long to be asked of each event", what, collection.name)
    if len(_slow) >= _MAX_SLOW:
        _slow.clear()
    _slow[collection.id, query] = monotonic() + _SLOW_SECONDS
