"""Query parameters that a route does not know."""

import pytest

JOB = "/jobs/" + "0" * 32


@pytest.mark.parametrize(("path", "near"), [
    ("/jobs?limt=5", "limit"), (JOB + "?Wait=5", "wait"), (JOB + "/result?fromat=webp", "format"), ("/limits?x=1", ""),
    (JOB + "/passes/1/image?zzz", ""), (JOB + "/events?q=", ""), ("/system?x", ""),
])  # fmt: skip
def test_an_unknown_parameter_is_422_with_the_nearest_name(client, path, near):
    answer = client.get(path)
    assert answer.status_code == 422 and answer.json()["code"] == "invalid-request"
    assert f"did you mean {near}?" in answer.json()["detail"] if near else "unknown field" in answer.json()["detail"]


def test_a_parameter_given_twice_is_422(client):
    assert client.get("/jobs?limit=1&limit=2").json()["errors"] == [{"field": "limit", "problem": "given twice"}]


def test_delete_takes_no_parameters(client):
    assert client.delete(JOB + "?force=1").status_code == 422
