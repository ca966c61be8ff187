"""A tenant is admitted in one place, and no statement of a tenant's forgets whose it is."""

import re

import pytest

from pipelines.query.tenant import Tenant, admit
from tests.support.planting import new_id
from tests.support.source_texts import ROOT, python_files, statements

STATEMENTS = {name: text for name, text in statements().items() if name.startswith("tenant_metrics/")}


def test_only_authentication_admits_a_tenant() -> None:
    """Nobody else in the product names the function that makes one."""
    naming = {
        path.relative_to(ROOT).as_posix()
        for path in python_files("pipelines", "assets")
        if re.search(r"\badmit\b", path.read_text("utf-8"))
    }

    assert naming == {"pipelines/query/tenant.py", "pipelines/api/auth.py"}


def test_a_tenant_cannot_be_made_up() -> None:
    """Its class refuses whoever has not gone through the door; two of one organization are the same."""
    organization = new_id()

    with pytest.raises(TypeError, match=r"tenancy\.admit"):
        Tenant(organization, object())

    assert admit(organization) == admit(organization) != admit(new_id())


@pytest.mark.parametrize("name", [name for name in STATEMENTS if name != "tenant_metrics/in_spans"])
def test_a_statement_names_the_organization(name: str) -> None:
    """The database would show nobody else's rows anyway; the statement does not rely on it."""
    assert "%(organization_id)s" in STATEMENTS[name] or "{summed}" in STATEMENTS[name]
