"""Take the README's pictures anew: `python -m tests.support.take_screenshots`, over the demo's month."""

import tempfile
from datetime import timedelta
from pathlib import Path
from uuid import UUID

from playwright.sync_api import BrowserContext

from pipelines.api.app import create_app
from pipelines.api.auth import signed, trusting
from pipelines.api.serving import serving
from pipelines.devtools.generated_month import GeneratedMonth, generate_month
from pipelines.postgres.connections import Run, open_databases
from pipelines.postgres.migrations import migrate
from pipelines.query.pool import ReadingPool, reader_url
from pipelines.runs.refresh import refresh
from pipelines.settings import Settings, load_settings
from tests.postgres.api.conftest import AUDIENCE, SECRET
from tests.support.chromium import launched, watched
from tests.support.source_texts import ROOT

IMAGES = ROOT / "docs" / "images"


def take_screenshots() -> None:
    """Generate the month, serve it, and look at its biggest tenant and, in the dark, its bad deployment."""
    with tempfile.TemporaryDirectory(prefix="execmetrics-pictures-") as folder:
        # The account of an embedded server has to pass through it.
        Path(folder).chmod(0o711)
        settings = load_settings(home=Path(folder) / "home")
        with open_databases(settings) as databases:
            migrate(Run(databases, settings))
            month = generate_month(Run(databases, settings))
            refresh(Run(databases, settings))
            _served(settings, month)


def _served(settings: Settings, month: GeneratedMonth) -> None:
    bad = month.bad_deployment
    with (
        reader_url(settings) as url,
        ReadingPool(url, settings) as pool,
        serving(create_app(settings, pool, trusting(SECRET, AUDIENCE)), "127.0.0.1", 0) as server,
        launched() as context,
    ):
        _taken(context, server.address, month.organization_ids[0], "dashboard-light.png", "2026-06-16", 1440)
        _taken(
            context,
            server.address,
            bad.organization_id,
            "dashboard-dark.png",
            "2026-06-16",
            1280,
            f"&to=2026-06-18&workflow={bad.workflow_id}&heat=success&theme=dark",
        )


def _taken(
    context: BrowserContext,
    address: str,
    organization: UUID,
    name: str,
    first: str,
    width: int,
    more: str = "&to=2026-06-30",
) -> None:
    token = signed(organization, SECRET, AUDIENCE, timedelta(minutes=5))
    with watched(context, address) as seen:
        seen.page.set_viewport_size({"width": width, "height": 900})
        page = seen.open(f"?range=custom&from={first}{more}", token)
        page.wait_for_selector("#workflows svg.trend")
        IMAGES.mkdir(exist_ok=True)
        page.screenshot(path=IMAGES / name, full_page=True)


if __name__ == "__main__":
    take_screenshots()
