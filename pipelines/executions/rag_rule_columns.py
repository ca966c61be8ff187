"""What retrieval finds for a job: payers and rules, in the shape that their columns hold."""

from pydantic import BaseModel, ConfigDict, Field


class Found(BaseModel):
    """An object of JSON whose named members have their types; others may be there."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True, serialize_by_alias=True)


class Payer(Found):
    """A payer that was matched, and in which scenario."""

    name: str
    id: str
    scenario: str


class Rule(Found):
    """A rule that was considered, and whether it was used."""

    rule_id: str = Field(alias="ruleId")
    rule_type: str = Field(alias="ruleType")
    condition: str
    action: str
    was_used: bool = Field(alias="wasUsed")
