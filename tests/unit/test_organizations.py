"""An organization is found by whatever it is called, and never by what only looks like it."""

from hashlib import md5
from uuid import UUID

import pytest

from pipelines.errors import AmbiguousOrganization, UnknownOrganization
from pipelines.runs.organizations import id_written, organization_called

CUID = "clq3k9w1x0000"
ACME, BRAVO = UUID("aaaaaaaa-0000-4000-8000-000000000001"), UUID(md5(CUID.encode()).hexdigest())
OTHER_BRAVO, UNNAMED = UUID(int=3), UUID(int=4)
KNOWN = {ACME: "Acme", BRAVO: "Bravo", OTHER_BRAVO: "Bravo", UNNAMED: None, UUID(int=5): str(ACME)}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        *((str(ACME), ACME), (str(ACME).upper(), ACME), ("Acme", ACME), (CUID, BRAVO)),
        *((str(known), known) for known in (OTHER_BRAVO, UNNAMED)),
    ],
)
def test_an_organization_has_three_names(text: str, found: UUID) -> None:
    """Its id, the id that the source has where that is no UUID, and its name; an id goes before a name."""
    assert organization_called(text, KNOWN) == found


@pytest.mark.parametrize("text", ["acme", "Acme ", "", "None", CUID.upper(), str(UUID(int=9)), "\udcff"])
def test_what_names_nobody_is_unknown(text: str) -> None:
    """Nothing is guessed: neither letters nor spaces are passed over."""
    with pytest.raises(UnknownOrganization):
        organization_called(text, KNOWN)


def test_a_name_of_two_is_told_with_both_ids() -> None:
    """So that whoever asked can say which is meant."""
    with pytest.raises(AmbiguousOrganization) as refused:
        organization_called("Bravo", KNOWN)

    assert all(str(key) in str(refused.value) for key in (BRAVO, OTHER_BRAVO))
    assert str(ACME) not in str(refused.value)


def test_only_a_whole_id_needs_no_look_up() -> None:
    """An id in capital letters may be another's text in the source, whose views hash it."""
    assert id_written(str(ACME)) == ACME
    assert [id_written(text) for text in (str(ACME).upper(), ACME.hex, "Acme", "")] == [None] * 4
