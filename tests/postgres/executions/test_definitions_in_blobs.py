"""A workflow's definition is the same again, however large; a damaged one is never taken for it."""

import os
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import psycopg
import pytest

from pipelines.errors import (
    BlobDamaged,
    BlobsInUse,
    BlobsNotUsable,
    InvalidSetting,
    WorkflowNotVisible,
)
from pipelines.executions.blobs import BlobStore
from pipelines.postgres.connections import Databases, Run
from pipelines.runs.maintenance import SweepReport, sweep_blobs
from pipelines.settings import Settings
from tests.postgres.executions.conftest import Begin
from tests.support.planting import Tenant, new_id
from tests.support.s3_bucket import WRITTEN, open_bucket

SMALL = {"steps": ["open", "é"]}
LARGE = {"steps": ["é" * 1_048_576]}

AT_ONCE = timedelta(seconds=-10)


@pytest.mark.every_postgres
@pytest.mark.parametrize("definition", [SMALL, LARGE, None])
def test_a_definition_is_found_as_it_was_created(
    source: psycopg.Connection, begin: Begin, acme: Tenant, settings: Settings, definition: object
) -> None:
    """A small one is in its row, a large one in blob storage, and the row says where, how large and which."""
    workflow = acme.workflows[0]
    with begin(acme) as work:
        work.workflows.create_definition(workflow, definition)
        work.commit()

    with begin(acme) as work:
        found = work.workflows.find_definition(workflow)

    assert (found.workflow_id, found.definition) == (workflow, definition)
    row = source.execute(
        "SELECT definition, definition_reference, definition_size_bytes, definition_sha256"
        " FROM orchestration.workflows WHERE id = %s",
        [workflow],
    ).fetchone()
    if definition is LARGE:
        content = (settings.home / "blobs" / row[1]).read_bytes()
        checksum = sha256(content).hexdigest()
        assert row == (None, f"{acme.organization}/definitions/{checksum}", len(content), checksum)
        assert (settings.home / "blobs").stat().st_mode & 0o77 == 0
    else:
        assert row == (definition, None, None, None)
        assert blobs(settings) == []


def test_a_blob_is_there_before_the_row_that_names_it(begin: Begin, acme: Tenant, settings: Settings) -> None:
    """Not the other way round: a row without its blob would be a definition that is lost."""
    with begin(acme) as work:
        work.workflows.create_definition(acme.workflows[0], LARGE)
        before = blobs(settings)

    assert len(before) == 1
    assert blobs(settings) == before


@pytest.mark.parametrize("damage", ["changed", "cut", "missing"])
def test_a_damaged_definition_is_not_given_out(
    begin: Begin, acme: Tenant, settings: Settings, damage: str
) -> None:
    """Size and hash are compared with the row's; the refusal names the workflow, and no content."""
    created(begin, acme)
    (blob,) = blobs(settings)
    content = blob.read_bytes()
    if damage == "missing":
        blob.unlink()
    else:
        blob.write_bytes(content.replace(b"steps", b"spets") if damage == "changed" else content[:-1])

    with begin(acme) as work, pytest.raises(BlobDamaged) as refusal:
        work.workflows.find_definition(acme.workflows[0])

    assert str(refusal.value).endswith(f"(the definition of workflow {acme.workflows[0]})")


def test_a_definition_is_the_tenants_own(
    begin: Begin, acme: Tenant, neighbour: Tenant, settings: Settings
) -> None:
    """The same definition of two tenants is two blobs, and neither finds nor replaces the other's."""
    created(begin, acme)
    created(begin, neighbour)

    with begin(acme) as work:
        assert work.workflows.find_definition(neighbour.workflows[0]) is None
        with pytest.raises(WorkflowNotVisible):
            work.workflows.create_definition(neighbour.workflows[0], SMALL)

    assert sorted(blob.parts[-3] for blob in blobs(settings)) == sorted(
        [str(acme.organization), str(neighbour.organization)]
    )


@pytest.mark.every_postgres
def test_orphans_are_swept_and_nothing_else(
    databases: Databases,
    settings: Settings,
    begin: Begin,
    acme: Tenant,
    neighbour: Tenant,
) -> None:
    """What a rollback or a newer definition left behind goes; what is named, young or not known stays."""
    for tenant in (acme, neighbour):
        created(begin, tenant)
    with begin(acme) as work:
        work.workflows.create_definition(acme.workflows[1], LARGE | {"never": "committed"})
    with begin(acme) as work:
        work.workflows.delete(acme.workflows[0])
        work.commit()
    orphan = next(blob for blob in blobs(settings) if b"never" in blob.read_bytes())
    unknown = settings.home / "blobs" / str(new_id()) / "definitions" / orphan.name
    others = settings.home / "blobs" / "other" / "file"
    for path in (unknown, others):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"x")

    young = sweep_blobs(Run(databases, settings))
    swept = sweep_blobs(Run(databases, settings), grace=AT_ONCE)

    assert young == SweepReport(0, 0, 0)
    assert (swept.blobs_removed, swept.blobs_of_unknown_organizations) == (1, 1)
    assert swept.bytes_removed > 2_000_000
    assert not orphan.exists()
    assert unknown.exists()
    assert others.exists()
    assert len(blobs(settings)) == 4
    with begin(acme) as work:
        found = work.workflows.find_definition(acme.workflows[0], include_deleted=True)
    assert found.definition == LARGE


def test_a_unit_of_work_is_not_robbed(
    databases: Databases, settings: Settings, begin: Begin, acme: Tenant
) -> None:
    """Although nobody else can see yet which blob it names; a blob that is written again is young again."""
    with begin(acme) as work:
        work.workflows.create_definition(acme.workflows[0], LARGE)
        with pytest.raises(BlobsInUse):
            sweep_blobs(Run(databases, settings), grace=AT_ONCE)
        work.commit()

    assert sweep_blobs(Run(databases, settings), grace=AT_ONCE).blobs_removed == 0
    (blob,) = blobs(settings)
    os.utime(blob, (0, 0))
    with begin(acme) as work:
        work.workflows.create_definition(acme.workflows[0], SMALL)
        work.workflows.create_definition(acme.workflows[1], LARGE)
    assert sweep_blobs(Run(databases, settings)).blobs_removed == 0


def test_a_store_that_fails_is_a_sentence(begin: Begin, acme: Tenant, settings: Settings) -> None:
    """Nothing is written then, and the row keeps what it had."""
    settings.home.mkdir()
    (settings.home / "blobs").write_text("no folder")

    with begin(acme) as work, pytest.raises(BlobsNotUsable, match="EXECMETRICS_BLOBS_URL"):
        work.workflows.create_definition(acme.workflows[0], LARGE)


@pytest.mark.parametrize("url", ["nonsense", "ftp://host/folder", "s3://"])
def test_a_url_of_no_store_is_refused(settings: Settings, url: str) -> None:
    """By the name of the setting."""
    with pytest.raises(InvalidSetting, match="EXECMETRICS_BLOBS_URL"):
        BlobStore.of(settings.model_copy(update={"blobs_url": url}))


def test_the_store_can_be_a_bucket(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its keys are those of the environment, as with other programs, and the references are the same."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "reader")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    with open_bucket() as bucket:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{bucket.server_port}")
        store = BlobStore.of(settings.model_copy(update={"blobs_url": "s3://bucket/folder"}))

        blob = store.keep(new_id(), b"content")

        assert bucket.objects == {f"folder/{blob.reference}": b"content"}
        assert store.read(blob) == b"content"
        assert store.find_written_before(WRITTEN) == {}
        assert store.find_written_before(WRITTEN + timedelta(seconds=1)) == {blob.reference: 7}
        store.delete([blob.reference])
        with pytest.raises(BlobDamaged):
            store.read(blob)


def created(begin: Begin, tenant: Tenant) -> None:
    """Give a tenant's first workflow a large definition."""
    with begin(tenant) as work:
        work.workflows.create_definition(tenant.workflows[0], LARGE)
        work.commit()


def blobs(settings: Settings) -> list[Path]:
    """The files of the store."""
    return sorted(path for path in (settings.home / "blobs").rglob("*") if path.is_file())
