"""Histories: a source that lives, and runs that may be killed, as a state machine of two rules."""

import shutil
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from pipelines.errors import FactsUnusable
from pipelines.fault_points import FaultPoint, watched_by
from pipelines.postgres.connections import Run
from pipelines.runs.refresh import RefreshReport
from pipelines.runs.verify import verify
from pipelines.settings import Settings
from tests.support.faults.runs import Killed
from tests.support.histories.books import Unseen
from tests.support.histories.judge import Judge
from tests.support.histories.oracle import TOLERANCE
from tests.support.histories.profiles import SPOILING, Profile, Tally
from tests.support.histories.runs import MEANWHILE, Asked, Cut, Watcher, portions_of
from tests.support.histories.source import Source, now
from tests.support.histories.world import MOMENTS, ORGANIZATIONS, PLANS, Facts, World, spoil
from tests.support.histories.writes import Write, Writers
from tests.support.planting import DAY, MINUTE

MICROSECOND = timedelta(microseconds=1)
DURATIONS = [timedelta(0), MICROSECOND, MINUTE, 61 * MINUTE, 3 * DAY, -MICROSECOND]

numbers = st.integers(min_value=0, max_value=9_999)

# At a place, the first or the second time; or at the so-manyth of all places that are passed.
cuts = st.tuples(st.sampled_from(FaultPoint), st.sampled_from([1, 1, 1, 2]))
cuts |= st.tuples(st.none(), st.integers(1, 45))


def writes(profile: Profile, *, meanwhile: bool = False) -> st.SearchStrategy[Write]:
    """Something that is done to the source; meanwhile nobody touches the facts."""
    whats = [what for what in profile.writes if not (meanwhile and what in (*SPOILING, "plan"))]
    when = st.sampled_from(MOMENTS), st.sampled_from(DURATIONS)
    return st.builds(Write, st.sampled_from(whats), numbers, *when)


def of_ten(often: int, what: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Something so often, else None."""
    chosen = st.sampled_from([True] * often + [False] * (10 - often))
    return chosen.flatmap(lambda so: what if so else st.none())


class History(RuleBasedStateMachine):
    """Jobs come, change and go, while runs are made and cut off; after each the table has to be right."""

    world: World
    profile: Profile
    tally: Tally
    begun = failed = False

    @initialize(
        published=st.sampled_from([True, True, True, False]),
        batch=st.sampled_from([500, 500, 1]),
        chunk=st.sampled_from([*[250_000] * 5, 3]),
        verified=st.sampled_from([False, False, False, True]),
    )
    def a_beginning(self, published: bool, batch: int, chunk: int, verified: bool) -> None:
        """Everybody was published, or nobody; so many organizations and jobs are taken at a time."""
        self.tally.histories += 1
        books, self.folder = self.world.begin(published=published)
        self.copies = self.folder.with_name(f"{self.folder.name}-copied")
        self.unseen = Unseen()
        self.source = Source(self.world.connection, self.world.databases.source_url, books, self.unseen)
        self.writers = Writers(self.source, loose=self.world.loose)
        self.judge = Judge(self.world, self.folder, self.unseen, self.tally)
        self.depths, self.batch, self.chunk, self.verified = PLANS[0], batch, chunk, verified
        for organization in () if published else ORGANIZATIONS:
            self.unseen.affect(organization)
        self.begun = True

    def teardown(self) -> None:
        """When all is written and read once more, the table is right, and stays as it is."""
        if not self.begun:
            return
        try:
            if not self.failed:
                self._end()
        finally:
            for transaction in list(self.source.open):
                self.source.end(transaction, commit=False)
            shutil.rmtree(self.copies, ignore_errors=True)

    def write(self, these: Sequence[Write]) -> None:
        """To the source, to the facts, or to what is configured."""
        for each in these:
            self.tally.writes += 1
            if each.what == "plan":
                self.depths = PLANS[each.number % len(PLANS)]
            elif each.what in SPOILING:
                if Facts.of(self.folder):
                    spoil(self.folder, each.what, self.copies)
            else:
                self.writers.do(each)

    def run(
        self, run: Asked, cut: Cut | None = None, meanwhile: tuple[FaultPoint, Write] | None = None
    ) -> RefreshReport | None:
        """Make a run, which may be killed, and look at what came of it."""
        self.tally.runs += 1
        if run.kind == "verify":
            self._verify()
            return None
        writing = meanwhile and (meanwhile[0], lambda: self.writers.do(meanwhile[1]))
        watcher = Watcher(lambda: (self.source.books.photo(), self.unseen.tick), cut, writing)
        left, before, report = self._not_asked_about(run), self.judge.published, None
        try:
            with watched_by(watcher), portions_of(self.chunk):
                report = run.ask(self.world.databases, self._settings())
        except Killed:
            note(f"killed: {watcher.fired}")
            self.tally.crashes[str(watcher.fired)] += 1
        except FactsUnusable:
            if run.kind not in ("tidy", "rebuild"):
                self._judge(["facts that are unusable were not made anew"])
        except BaseException:
            self.failed = True
            raise
        self._judge(self.judge.by_facts(self.depths))
        if report:
            self.judge.use(self.depths)
            self._judge(self.judge.by_books(run, report, before, watcher.photo, left))
        return report

    def _not_asked_about(self, run: Asked) -> set[Any]:
        """The deleted jobs that count in the facts and that this run need not find."""
        deleted = set(self.unseen.deleted)
        facts = Facts.of(self.folder) if deleted else None
        if run.everything or run.counts or not deleted:
            return set()
        if not facts or not (run.completed or run.created):
            return deleted
        return {job for job, times in facts.of_jobs(deleted).items() if not run.asks_about(*times)}

    def _settings(self) -> Settings:
        changes = {"facts_url": str(self.folder), "rollup_plan": self.world.plan(self.depths)}
        return self.world.settings.model_copy(update=changes | {"batch_organizations": self.batch})

    def _verify(self) -> None:
        """What is on its way is no difference; rows that are gone are one, and so are new owners."""
        if self.unseen.deleted or self.unseen.owners:
            return
        try:
            report = verify(Run(self.world.databases, self._settings()))
        except FactsUnusable:
            return
        except BaseException:
            self.failed = True
            raise
        self.tally.rows_compared += report.cells_compared
        self._judge([f"verify: {each}" for each in report.differences])

    def _end(self) -> None:
        self.writers.settle()
        self.run(Asked("sweep"))
        scope = self.judge.published.progress
        unclear = scope.keys() - self.unseen.clear_of(scope)
        again = self.run(Asked("sweep"))
        assert again is not None
        written = (again.cells_written, again.cells_deleted, again.cells_restated)
        written += (again.facts_inserted, again.facts_updated, again.facts_deleted)
        idle = written == (0,) * 6 or self._is_something_due()
        wrote = [] if idle else [f"a rerun wrote: {again}"]
        self._judge([f"still unseen: {key}" for key in unclear] + wrote)
        if self.verified:
            self._verify()

    def _is_something_due(self) -> bool:
        """Whether a future began a moment ago."""
        times = [row.completed_at for row in self.source.books.jobs.values()]
        times = [time for time in times if not isinstance(time, str | None)]
        return any(abs(time - TOLERANCE - now()) < MINUTE for time in times)

    def _judge(self, wrong: list[str]) -> None:
        if wrong:
            self.failed = True
            self.tally.differences += len(wrong)
            raise AssertionError("\n".join(wrong[:20]))


def machine_of(world_: World, profile_: Profile, tally_: Tally) -> type[History]:
    """The machine of a profile, on a world."""

    class Machine(History):
        world, profile, tally = world_, profile_, tally_

        @rule(these=st.lists(writes(profile_), min_size=3, max_size=8))
        def people_write(self, these: Sequence[Write]) -> None:
            self.write(these)

        @rule(
            kind=st.sampled_from(profile_.runs),
            number=numbers,
            cut=of_ten(profile_.killed, cuts),
            meanwhile=of_ten(
                profile_.meanwhile, st.tuples(st.sampled_from(MEANWHILE), writes(profile_, meanwhile=True))
            ),
        )
        def a_run(
            self, kind: str, number: int, cut: Cut | None, meanwhile: tuple[FaultPoint, Write] | None
        ) -> None:
            self.run(Asked.of(kind, number), cut, meanwhile)

    Machine.__name__ = Machine.__qualname__ = f"{profile_.name.title()}Machine"
    return Machine
