"""`GET /limits` tells a caller what its key may do and what is left of its quotas."""

import time
from datetime import datetime

import http_sf
import pytest

from jobs.quotas import DAY_S

QUOTAS = ("requests=100/h", "burst=5", "jobs=3", "megapixels=2/day", "waits=4")


def test_a_key_sees_its_scopes_weight_expiry_and_what_is_left_of_each_quota(serve, new_key, picture):
    expires_ms = int(time.time() * 1000) + 3_600_000
    client, headers = serve(auth="on").client, new_key(*QUOTAS, expires_ms=expires_ms, weight=7)
    assert client.post("/restore", files={"image": picture(size=(1000, 500))}, headers=headers).status_code == 202
    caller = client.get("/limits", headers=headers).json()["caller"]
    assert caller["key_id"] == headers["X-API-Key"].split("_")[1]
    assert (caller["scopes"], caller["weight"]) == (["restore", "read"], 7)
    assert datetime.fromisoformat(caller["expires_at"]).timestamp() == pytest.approx(expires_ms / 1000, abs=0.01)
    quotas = caller["quotas"]
    assert (quotas["requests"]["limit"], quotas["requests"]["remaining"], quotas["requests"]["window_s"]) == (5, 3, 180)
    assert 36 < quotas["requests"]["reset_s"] <= 72
    assert quotas["jobs"] == {"limit": 3, "remaining": 2, "window_s": None, "reset_s": None}
    assert (quotas["megapixels"]["limit"], quotas["megapixels"]["remaining"]) == (2, 1.5)
    assert quotas["megapixels"]["window_s"] == DAY_S and 0 < quotas["megapixels"]["reset_s"] <= DAY_S
    assert quotas["waits"] == {"limit": 4, "remaining": 4, "window_s": None, "reset_s": None}


def test_the_body_and_the_header_of_one_answer_agree(serve, new_key):
    answer = serve(auth="on").client.get("/limits", headers=new_key(*QUOTAS))
    left = {
        str(name): dict(fields) for name, fields in http_sf.parse(answer.headers["ratelimit"].encode(), tltype="list")
    }
    policy = http_sf.parse(answer.headers["ratelimit-policy"].encode(), tltype="list")
    for name, fields in policy:
        quota = answer.json()["caller"]["quotas"][str(name)]
        told = (fields["q"], fields.get("w"), left[str(name)]["r"], left[str(name)].get("t"))
        assert (quota["limit"], quota["window_s"], quota["remaining"], quota["reset_s"]) == told


@pytest.mark.parametrize(("scopes", "shown"), [(("read",), ["read"]), (("admin",), ["restore", "read", "admin"])])
def test_a_key_without_quotas_is_unlimited(serve, new_key, scopes, shown):
    caller = serve(auth="on").client.get("/limits", headers=new_key(scopes=scopes)).json()["caller"]
    assert caller["scopes"] == shown and caller["expires_at"] is None
    assert caller["quotas"] == dict.fromkeys(("requests", "jobs", "megapixels", "waits"))


def test_without_keys_the_quotas_of_the_settings_are_shown(serve):
    caller = serve(auth="off", quotas={"waits": "2"}).client.get("/limits").json()["caller"]
    assert (caller["key_id"], caller["scopes"], caller["weight"]) == (None, None, None)
    assert caller["quotas"]["waits"]["limit"] == 2 and caller["quotas"]["jobs"] is None
