"""What the service says of its limits, degradations, bundles and workers."""

from models.vocabulary import DEGRADATIONS


def test_limits_are_the_settings(serve):
    limits = serve(max_bytes=123, max_megapixels=4.5).client.get("/limits").json()
    assert limits["max_bytes"] == 123 and limits["max_megapixels"] == 4.5
    assert limits["formats"] == ["jpeg", "png", "webp", "tiff", "avif"]


def test_degradations_say_which_of_them_a_worker_repairs(client, worker, until_ready):
    until_ready(client)
    degradations = {entry["name"]: entry for entry in client.get("/degradations").json()}
    assert set(degradations) == {entry.name for entry in DEGRADATIONS}
    noise = degradations["noise"]
    assert noise["available"] and noise["fidelity"] == 0.5 and noise["prompt"] == "toy noise"
    assert not degradations["rain"]["available"]


def test_models_and_system_come_from_the_workers(client, worker, submitted, until_ready):
    until_ready(client)
    assert client.get("/models").json() == [
        {"name": "toy", "family": "toy", "version": "1", "license": "", "degradations": ["noise"], "workers": 1,
         "ready": 1}
    ]  # fmt: skip
    submitted(headers={"Prefer": "wait=20"})
    system = client.get("/system").json()
    assert system["workers"][0]["device"] == "cpu" and system["queued"]["standard"] == 0 and system["version"]
