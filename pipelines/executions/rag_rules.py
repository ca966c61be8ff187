"""Which payers and rules retrieval found for the jobs of one tenant."""

from typing import Any, Final
from uuid import UUID

from pydantic import TypeAdapter, ValidationError

from pipelines.errors import JobNotVisible, RagRulesMalformed
from pipelines.executions.execution_records import RagRules
from pipelines.executions.json_limits import checked_json
from pipelines.executions.of_tenant import OfTenant
from pipelines.executions.rag_rule_columns import Payer, Rule

_PAYERS: Final = TypeAdapter(list[Payer])
_RULES: Final = TypeAdapter(list[Rule])


class RagRulesRepository(OfTenant):
    """Payers and rules in the transaction of a unit of work; what a scenario says may be health data.

    Deleted ones, and those of deleted jobs, are not there unless they are asked for.
    """

    def find_by_job(self, job_id: UUID, *, include_deleted: bool = False) -> RagRules | None:
        """Those of one job, once the access is logged. Raises `AccessNotLogged`."""
        self._accesses.record("execution_rag_rules", job_id=job_id)
        for row in self._rows("rag_rules/find_by_job", job_id=job_id, include_deleted=include_deleted):
            return RagRules(
                job_id=row["job_id"],
                payers=tuple(_PAYERS.validate_python(row["payers"])),
                rules=tuple(_RULES.validate_python(row["rules"])),
                created_at=row["created_at"],
                deleted_at=row["deleted_at"],
            )
        return None

    def create(self, job_id: UUID, *, payers: Any, rules: Any) -> None:
        """Those of a job, as JSON or models. Raises `RagRulesMalformed`, `JsonTooLarge`, `JobNotVisible`."""
        if not self._rows(
            "rag_rules/create",
            job_id=job_id,
            payers=self._checked("payers", _PAYERS, payers),
            rules=self._checked("rules", _RULES, rules),
        ):
            raise JobNotVisible

    def delete(self, job_id: UUID) -> bool:
        """Soft-delete those of a job; whether there were any."""
        return bool(self._rows("rag_rules/delete", job_id=job_id, include_deleted=False))

    def _checked(self, column: str, shape: TypeAdapter[Any], value: Any) -> str | None:
        try:
            found = shape.dump_python(shape.validate_python(value))
        except ValidationError as invalid:
            # Not its own words, which hold the value.
            wrong = invalid.errors(include_input=False, include_url=False)[0]
            place = ".".join(map(str, (column, *wrong["loc"])))
            raise RagRulesMalformed(f"({place}: {wrong['msg']})") from None
        return checked_json(found, f"execution_rag_rules.{column}", self._settings)
