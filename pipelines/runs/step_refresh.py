"""One pass over the steps, after that over the jobs: gather, compute, apply."""

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from pipelines.extract.extractor import Request
from pipelines.extract.steps import extract_steps
from pipelines.facts.delta import STEP_FACTS
from pipelines.facts.health import with_new_facts
from pipelines.postgres.connections import Databases, connect
from pipelines.progress import Stages
from pipelines.publish.steps import publish_steps
from pipelines.settings import Settings
from pipelines.state.definitions import find_version
from pipelines.state.step_watermarks import find_step_progress
from pipelines.subjects.definition import step_definition


@dataclass(frozen=True)
class StepsReport:
    """What one pass did; `not_counted` are lines that name a step and may not be counted.

    `failed` names the class of what went wrong with the organizations that stay as they were.
    """

    organizations: int
    lines_read: int
    not_counted: int
    facts_inserted: int
    facts_updated: int
    facts_deleted: int
    cells_computed: int
    cells_written: int
    cells_deleted: int
    failed: Mapping[UUID, str]


def find_stale_steps(databases: Databases, settings: Settings) -> tuple[UUID, ...]:
    """The organizations whose steps are of an older definition; `refresh_steps` computes them anew."""
    with connect(databases.analytics_url, settings) as analytics:
        current, seen = find_version(analytics, step_definition()), find_step_progress(analytics)
    return tuple(sorted(key for key, each in seen.items() if each.definition_version != current))


def refresh_steps(
    databases: Databases, settings: Settings, request: Request, stages: Stages
) -> StepsReport | None:
    """Bring the steps up to date with their logs; None where the source has none that may be read.

    A digest that is asked for covers steps that ended in a range, since a day, or ever. The caller holds the
    refresh lock. Raises `SourceMissing`, `PublishConflict`.
    """

    def whole_pass() -> StepsReport | None:
        extraction = extract_steps(databases, settings, request, stages)
        if extraction is None:
            return None
        published = publish_steps(databases, settings, extraction, stages)
        return StepsReport(
            organizations=len(extraction.organization_ids),
            lines_read=extraction.read,
            not_counted=extraction.not_counted,
            facts_inserted=extraction.absorbed.inserted,
            facts_updated=extraction.absorbed.updated,
            facts_deleted=extraction.absorbed.gone,
            cells_computed=published.computed,
            cells_written=published.written,
            cells_deleted=published.deleted,
            failed=published.failed,
        )

    return with_new_facts(settings.step_facts_location, STEP_FACTS, whole_pass)
