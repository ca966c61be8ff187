"""What has to hold after a run, by the facts and by the books."""

from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from pipelines.runs.refresh import RefreshReport
from tests.support.histories import oracle
from tests.support.histories.books import Books, Photo, Row, Unseen
from tests.support.histories.oracle import Anomaly, Cells, Depths
from tests.support.histories.profiles import Tally
from tests.support.histories.runs import Asked
from tests.support.histories.world import NOWHERE, PLANS, Facts, Published, World
from tests.support.oracle import differences


class Judge:
    """Looks at what readers see; every method gives what is wrong, in words."""

    def __init__(self, world: World, folder: Path, unseen: Unseen, tally: Tally) -> None:
        self._world, self._folder, self._unseen, self._tally = world, folder, unseen, tally
        self.published = world.published()
        self._identities = {key: _identity(state) for key, state in self.published.progress.items()}

    def by_facts(self, depths: Depths) -> list[str]:
        """After any run, killed or not, the cells of an organization are those of the facts that it shows."""
        before, self.published = self.published, self._world.published()
        progress, stored = self.published.progress, self.published.cells
        facts, jobs = Facts.of(self._folder), dict[int, Any]()
        found = [f"not published any more: {key}" for key in before.progress.keys() - progress.keys()]
        found += [f"cells of nobody: {key}" for key in stored.keys() - progress.keys()]
        for key, state in progress.items():
            # None while cells of two definitions lie side by side.
            plan = self._world.definitions.get(state["definition"])
            if self._identities.get(key) == _identity(state):
                expected = before.cells[key]
            elif facts is None or facts.table_id != state["facts_table_id"]:
                found.append(f"published from nowhere: {key}")
                continue
            else:
                version = state["published_version"]
                jobs[version] = jobs.get(version) or facts.jobs(version)
                expected = oracle.cells(jobs[version][key], state["time_zone"], plan or depths)
            # Cells of an older definition are not all kept up, until they are computed anew.
            plans = PLANS if plan != depths else (plan,)
            found += self._differences(oracle.kept(stored[key], plans), oracle.kept(expected, plans))
            self._identities[key] = _identity(state)
        return found

    def by_books(
        self, run: Asked, report: RefreshReport, before: Published, photo: Photo, left: set[UUID]
    ) -> list[str]:
        """After a run that ended well the cells are those of the source, as far as it can have seen it.

        The photo is of the books when the run read the source, with its tick; `left` are deleted jobs that
        it was not asked to find.
        """
        books, progress = photo[0], self.published.progress
        extracted_at = {key: state["extracted_at"] for key, state in before.progress.items()}
        scope = set(run.only or set(books.zones) | set(before.progress))
        if not run.only and not run.indexed:
            scope |= {row.organization_id for row in books.jobs.values()}
        homeless = {key for key in scope if books.zones.get(key) == NOWHERE}
        failed = {each.organization_id for each in report.failed}
        found = [f"failed, or did not: {key}" for key in homeless ^ failed]
        if not run.only:
            self._unseen.reveal_owners(photo[1])

        def visible(row: Row) -> bool:
            return run.sees(row, extracted_at.get(row.organization_id))

        self._unseen.reveal(scope - homeless, photo, visible, left)
        clear = self._unseen.clear_of(scope - homeless)
        found += [f"not published: {key}" for key in clear - progress.keys()]
        clocks = {key: progress[key]["extracted_at"] for key in clear & progress.keys()}
        plans = {key: self._world.definitions.get(progress[key]["definition"]) for key in clocks}
        found += [f"an older definition: {key}" for key, plan in plans.items() if plan != self._depths]
        for key in clocks:
            earlier = before.progress.get(key, progress[key])
            if progress[key]["complete_through"] < earlier["complete_through"]:
                found.append(f"not as complete as before: {key}")
        return found + self._of_cells(books, clocks) + self._of_anomalies(books, clocks)

    def use(self, depths: Depths) -> None:
        """Expect cells of this plan."""
        self._depths = depths

    def _of_cells(self, books: Books, clocks: dict[UUID, datetime]) -> list[str]:
        rows = oracle.counted(books, clocks)
        found = []
        for key in clocks:
            jobs = [oracle.as_job(row) for row in rows.values() if row.organization_id == key]
            expected = oracle.cells(jobs, books.zones.get(key, "UTC"), self._depths)
            found += self._differences(self.published.cells[key], expected)
        return found

    def _of_anomalies(self, books: Books, clocks: dict[UUID, datetime]) -> list[str]:
        expected = oracle.anomalies(books, clocks)
        listed = {each for each in self.published.listed if each.organization_id in clocks}
        self._tally.rows_compared += len(expected | listed)
        found = [f"listed wrongly: {each}" for each in listed - expected]
        found += [f"not listed: {each}" for each in expected - listed]
        for key in clocks:
            there = sum(row.organization_id == key and oracle.reported(row) for row in books.jobs.values())
            kept = _counted(self.published.cells[key]), len(_not_counted(listed, key))
            if there != sum(kept):
                found.append(f"{there} jobs, but {kept[0]} counted and {kept[1]} listed: {key}")
        return found

    def _differences(self, stored: Cells, expected: Cells) -> list[str]:
        self._tally.rows_compared += len(stored.keys() | expected.keys())
        # Most are the same to the last bit, which is quickly seen.
        same = {key for key, cell in expected.items() if stored.get(key) == cell}
        return differences(
            {key: cell for key, cell in stored.items() if key not in same},
            {key: cell for key, cell in expected.items() if key not in same},
        )


def _identity(state: dict[str, Any]) -> tuple[Any, ...]:
    """By which one can tell that cells were published, or rebuilt; forgetting what they show is neither."""
    return (state["run_id"], state["time_zone"], state["definition_version"])


def _counted(stored: Cells) -> int:
    totals = [cell for key, cell in stored.items() if key[1] == "month" and oracle.dimensions(key) == 0]
    return sum(cell["total_executions"] for cell in totals)


def _not_counted(listed: set[Anomaly], key: UUID) -> set[UUID]:
    return {each.job_id for each in listed if each.organization_id == key and each.effect == "not_counted"}
