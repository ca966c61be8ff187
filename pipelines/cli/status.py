"""`execmetrics status`."""

from dataclasses import asdict
from typing import Final

from pipelines.cli.arguments import AsJson, opened
from pipelines.cli.output import print_json, print_line, print_table

_COLUMNS: Final = (
    *("name", "organization_id", "time_zone", "complete_through", "verified_at", "cursor"),
    *("jobs", "cells", "cells_per_job", "anomalies", "failing", "steps_failing"),
)


def status(as_json: AsJson = False) -> None:
    """Show how far each organization is, and how many cells its jobs cost."""
    from pipelines.runs import status as standing

    with opened() as (databases, settings):
        report = standing.status(databases, settings)
    organizations = [
        asdict(each) | {"cells_per_job": each.cells / each.jobs if each.jobs else None}
        for each in report.organizations
    ]
    sums = {"jobs": report.jobs, "cells": report.cells, "cells_per_job": report.cells_per_job}
    if as_json:
        print_json(asdict(report) | {"organizations": organizations} | sums)
        return
    headings = [column.replace("_", " ") for column in _COLUMNS]
    print_table(headings, ([row[column] for column in _COLUMNS] for row in organizations))
    print_line()
    per_job = f", {report.cells_per_job:.2f} per job" if report.cells_per_job is not None else ""
    print_line(
        f"{report.jobs:,} jobs of {len(organizations):,} organizations in {report.cells:,} cells{per_job}."
    )
    for relation, why in (report.read_whole or {}).items():
        print_line(f"Every refresh reads all of orchestration.{relation}: {why}.")
    for folder in report.set_aside:
        print_line(
            f"{folder} was set aside because it could not be used, and may be the only copy of what the"
            " source no longer has: put a backup of these facts in their place, or delete it when nothing is"
            " missed."
        )
