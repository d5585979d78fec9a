"""Claims that must keep budgets: which may be inserted, and what they cost."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from foxapi_async._journal.cost_tables import CostRow, CostTables
from foxapi_async._journal.operations import Claim, ClaimResult, FindEntry
from foxapi_async._journal.records import FAILED, Entry, EntryId, Intent, Stage
from foxapi_async._journal.statements import UNSETTLED
from foxapi_async._protocol.spent import TaskCost
from foxapi_async.errors import JournalError

Holder = Entry | JournalError | None
"""The result of a claim: ``None`` if it was inserted."""


class CountedClaims:
    """The claims of one transaction, some of which must keep budgets.

    Each is counted before the next one is decided, and no longer if its key is in use.
    """

    def __init__(
        self,
        costs: Mapping[str, CostTables],
        claims: Sequence[Claim],
        lives: Callable[[str], bool],
        find: Callable[[Iterable[FindEntry]], dict[FindEntry, Entry]],
    ) -> None:
        self._tables = costs
        self._lives = lives
        self._costs: dict[EntryId, TaskCost] = {}
        self._errors: dict[EntryId, Exception] = {}
        self._holders: dict[EntryId, Holder] = {}
        self._decide(claims, frozenset())
        if self._errors:
            # What costs nothing must not take the room of others.
            for it in claims:
                if (cost := self._costs.get(it.id)) is not None:
                    self._table(it).uncount(it.intent.model, cost)
            self._costs.clear()
            self._errors.clear()
            self._decide(claims, self._costless(claims, find))
        self.admitted: list[Claim] = [it for it in claims if it.id not in self._errors]

    def finish(self, holders: Iterable[Holder]) -> None:
        """Store the costs of the claims that were inserted; ``holders`` are the results of all."""
        inserted: dict[str, list[CostRow]] = {}
        replaced: dict[str, list[EntryId]] = {}
        for it, holder in zip(self.admitted, holders, strict=True):
            self._holders[it.id] = holder
            cost, intent = self._costs.get(it.id), it.intent
            if cost is None:
                continue
            if holder is not None:
                self._table(it).uncount(intent.model, cost)
                continue
            inserted.setdefault(intent.service, []).append(CostRow(it.id, intent.model, cost))
            if intent.replaces is not None:
                replaced.setdefault(intent.service, []).append(intent.replaces)
        for service, rows in inserted.items():
            self._tables[service].insert(rows)
        for service, entries in replaced.items():
            self._tables[service].keep_replaced(entries)

    def result(self, claim: Claim) -> object:
        """Return the result of a claim."""
        holder = self._holders.get(claim.id)
        if claim.intent.reservation is None:
            return holder
        error: Exception | None = self._errors.get(claim.id)
        if isinstance(holder, JournalError):
            holder, error = None, holder
        return ClaimResult(holder, error, self._table(claim).spent)

    def _decide(self, claims: Sequence[Claim], costless: frozenset[EntryId]) -> None:
        keys: set[FindEntry] = set()
        for it in claims:
            reservation, name = it.intent.reservation, name_of(it)
            if reservation is None or it.id in costless or name in keys:
                continue
            table, model = self._table(it), it.intent.model
            cost, error = table.decide(reservation, model, it.id.run, self._lives)
            if error is not None:
                self._errors[it.id] = error
            else:
                table.count(model, cost)
                self._costs[it.id] = cost
                if name is not None:
                    # Of several claims of one key, one is inserted.
                    keys.add(name)

    def _costless(
        self,
        claims: Sequence[Claim],
        find: Callable[[Iterable[FindEntry]], dict[FindEntry, Entry]],
    ) -> frozenset[EntryId]:
        """Return the claims whose key is in use, or which were counted before.

        The second: by a transaction whose end was not known.
        """
        held = find(name for it in claims if (name := name_of(it)))
        ids = [it.id for it in claims]
        costless = {entry for table in self._tables.values() for entry in table.stored(ids)}
        for it in claims:
            name = name_of(it)
            holder = held.get(name) if name else None
            if holder is not None and not is_free(holder, it.intent):
                costless.add(it.id)
        return frozenset(costless)

    def _table(self, claim: Claim) -> CostTables:
        return self._tables[claim.intent.service]


def is_free(holder: Entry, intent: Intent) -> bool:
    """Tell whether a key may be sent under again: it was refused, or is given up by ``intent``."""
    if holder.stage is Stage.REFUSED:
        return True
    return holder.id == intent.replaces and holder.stage in FAILED | UNSETTLED


def name_of(claim: Claim) -> FindEntry | None:
    """Return the key of a claim."""
    intent = claim.intent
    return FindEntry(intent.service, intent.key) if intent.key is not None else None
