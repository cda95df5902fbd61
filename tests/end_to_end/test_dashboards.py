"""Each panel of each dashboard has data in a Prometheus that scrapes a working service (`make alerts-test`)."""

import pytest
from dashboard_panels import DASHBOARDS, filled, queries
from observe_files import program
from observed_service import Observed

from cli.embedded_redis import EmbeddedRedis

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def observed(tmp_path_factory):
    """A service that has done jobs of each lane, while Prometheus scraped it."""
    program("prometheus")
    folder = tmp_path_factory.mktemp("observed")
    with EmbeddedRedis(folder / "redis") as redis:
        here = Observed(folder, redis, folder / "store")
        try:
            here.start_api()
            here.start_prometheus()
            here.start_worker()
            yield here
        finally:
            here.close()


def work(observed, crop):
    for lane in ("interactive", "standard", "bulk"):
        for number in range(2):
            assert observed.submit(crop(number), lane=lane, seed=number).status_code == 202


def test_every_panel_has_data(observed, crop):
    missing = {(path.stem, title, query) for path in DASHBOARDS for title, query in queries(path)}

    def all_have_data():
        work(observed, crop)
        for one in sorted(missing):
            answer = observed.query(filled(one[2], interval="20s"))
            if answer and any(sample["value"][1] != "NaN" for sample in answer):
                missing.discard(one)
        return not missing

    observed.until(all_have_data, lambda: f"{sorted(missing)} have data", 300)
