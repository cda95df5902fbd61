"""The newer controls over HTTP: what is accepted, what a job then asks for, and several results."""

import pytest

from jobs.record import Change, Result, Understood, Variant

WAIT = {"Prefer": "wait=20"}


@pytest.fixture
def spec_of(client, worker, picture):
    """Submits an image and returns the controls of the job that the worker leased."""

    def submit(size=(8, 8), json=None, **fields):
        answer = client.post(
            "/restore", files={"image": picture(size=size)}, data=fields, headers={"Prefer": "wait=20"}
        )
        assert answer.status_code == 200, answer.text
        return worker.leased[-1].spec.controls, answer.json()

    return submit


def test_the_controls_of_a_form_reach_the_worker_and_the_job_shows_them(spec_of):
    controls, job = spec_of(strength="noise=0.3", scale="2", crop="1,2,4,4", variants="2", preset="strong")
    assert (controls.strength, controls.scale, controls.crop, controls.variants) == ({"noise": 0.3}, 2, (1, 2, 4, 4), 2)
    assert (controls.preset, controls.max_passes) == ("strong", 7)
    params = job["params"]
    assert (params["strength"], params["crop"], params["preset"]) == ({"noise": 0.3}, [1, 2, 4, 4], "strong")


@pytest.mark.parametrize(("fields", "passes", "strength"), [
    ({"preset": "faithful"}, 2, 0.8), ({"preset": "faithful", "strength": "1", "max_passes": "5"}, 5, 1.0),
    ({"preset": "auto"}, None, 1.0), ({"preset": ""}, None, 1.0),
])  # fmt: skip
def test_explicit_fields_win_over_a_preset(spec_of, fields, passes, strength):
    controls, _ = spec_of(**fields)
    assert (controls.max_passes, controls.strength) == (passes, strength)


@pytest.mark.parametrize(("fields", "status", "words"), [
    ({"strength": "nosie=0.3"}, 422, "Did you mean 'noise'"), ({"strength": "haze=0.3"}, 422, "does not know haze"),
    ({"strength": "noise=0"}, 200, ""), ({"crop": "0,0,9,1"}, 422, "8 x 8 px"), ({"crop": "1,2"}, 422, "x,y,width"),
    ({"scale": "3"}, 422, "1, 2 or 4"), ({"variants": "5"}, 422, "variants"), ({"preset": "best"}, 422, "'faithful'"),
    ({"prompt": "rain", "strength": "noise=1"}, 422, "as free text"),
    ({"variants": "2", "seed": str(2**63 - 1)}, 422, "give a smaller one"),
])  # fmt: skip
def test_what_cannot_be_done_is_refused_before_it_is_queued(client, worker, picture, fields, status, words):
    answer = client.post("/restore", files={"image": picture(size=(8, 8))}, data=fields, headers=WAIT)
    assert answer.status_code == status, answer.text
    assert words in answer.text
    assert len(worker.leased) == (status == 200)


def test_an_enlargement_over_the_limit_is_413_with_the_size_of_its_result(serve, worker, picture):
    client = serve(max_megapixels=0.0001).client
    answer = client.post("/restore", files={"image": picture(size=(8, 8))}, data={"scale": "2"})
    assert (answer.status_code, answer.json()["code"]) == (413, "too-many-pixels")
    assert "16 x 16" in answer.json()["detail"] and "crop" in answer.json()["hint"]


def test_limits_lists_presets_and_bounds(client):
    limits = client.get("/limits").json()
    assert [preset["name"] for preset in limits["presets"]] == ["auto", "faithful", "strong", "preview"]
    assert limits["controls"]["scale"]["values"] == [1, 2, 4]
    assert limits["controls"]["strength"] == {"default": 1.0, "min": 0, "max": 1, "values": None}


@pytest.fixture
def several(toy, monkeypatch):
    """A worker that makes two variants, and reports as a real one does."""
    worker = toy()
    plain = worker._restored

    async def restored(job, outcome, store):
        outcome = await plain(job, outcome, store)
        second = Result(**{**outcome.result.model_dump(), "blob": f"{job.spec.id}/result-2", "sha256": "2"})
        await store.put(second.blob, b"\x89PNG second", job.spec.keep_s)
        change = Change(mean_levels=1.5, max_levels=20, share=0.25)
        variants = tuple(
            Variant(seed=seed, result=result, passes=outcome.passes, stop_reason="clean", change=change)
            for seed, result in ((5, outcome.result), (6, second))
        )
        return outcome.model_copy(update={
            "variants": variants, "change": change, "warnings": ("letters",), "warning_codes": ("redrawn-text",),
            "understood": Understood(
                label="noise", score=0.9, ignored=("please",), used="label", answer="repairs",
                repairs=("noise", "rain"), kept=("haze",), language="de", sure=0.9,
            ),
        })  # fmt: skip

    monkeypatch.setattr(worker, "_restored", restored)
    return worker


def test_a_job_lists_its_variants_and_each_is_fetched_by_its_number(client, several, submitted):
    job = submitted(headers={"Prefer": "wait=20"}, variants="2", seed="5")
    assert [(entry["variant"], entry["seed"]) for entry in job["variants"]] == [(1, 5), (2, 6)]
    assert job["variants"][0]["change"] == {"mean_levels": 1.5, "max_levels": 20.0, "share": 0.25}
    first, second = (client.get(entry["result"]["url"]) for entry in job["variants"])
    assert first.content == client.get(job["result"]["url"]).content
    assert (second.status_code, second.content) == (200, b"\x89PNG second")
    absent = client.get(job["result"]["url"], params={"variant": 3})
    assert (absent.status_code, absent.json()["code"]) == (404, "no-such-variant")
    assert client.get(job["result"]["url"], params={"variant": 5}).status_code == 422


def test_all_variants_go_with_their_job(client, several, submitted):
    job = submitted(headers={"Prefer": "wait=20"}, variants="2")
    urls = [entry["result"]["url"] for entry in job["variants"]]
    assert client.delete(f"/jobs/{job['id']}").status_code == 204
    assert [client.get(url).status_code for url in urls] == [404, 404]


def test_the_report_is_in_the_job_and_in_short_in_the_headers_of_the_image(client, several, submitted, picture):
    job = submitted(headers={"Prefer": "wait=20"})
    assert job["understood"] == {
        "label": "noise", "score": 0.9, "ignored": ["please"], "used": "label", "answer": "repairs",
        "repairs": ["noise", "rain"], "kept": ["haze"], "language": "de", "sure": 0.9,
    }  # fmt: skip
    assert (job["warnings"], job["warning_codes"]) == (["letters"], ["redrawn-text"])
    answer = client.post("/restore", files={"image": picture()}, headers={"Accept": "image/*"})
    assert answer.headers["x-warnings"] == "redrawn-text"
    assert answer.headers["x-change"] == "mean=1.50, max=20.0, share=0.2500"


def test_warnings_of_a_worker_without_codes_have_the_code_other(client, worker, submitted, monkeypatch):
    plain = worker._restored

    async def restored(job, outcome, store):
        return (await plain(job, outcome, store)).model_copy(update={"warnings": ("a", "b")})

    monkeypatch.setattr(worker, "_restored", restored)
    job = submitted(headers={"Prefer": "wait=20"})
    assert job["warning_codes"] == ["other", "other"]
