"""Job ids contain their creation time."""

import uuid

from service.job_ids import created_ms, new_job_id


def test_an_id_is_a_uuid_of_version_7():
    job_id = uuid.UUID(new_job_id())
    assert job_id.version == 7 and job_id.variant == uuid.RFC_4122


def test_ids_sort_by_their_creation_time():
    ids = [new_job_id(1_700_000_000_000 + i) for i in range(100)]
    assert ids == sorted(ids)


def test_ids_of_one_millisecond_differ():
    assert len({new_job_id(5) for _ in range(1000)}) == 1000


def test_an_id_contains_its_creation_time():
    assert created_ms(new_job_id(1_700_000_000_003)) == 1_700_000_000_003


def test_an_id_of_another_format_has_no_creation_time():
    assert created_ms("zz") is None and created_ms(uuid.uuid4().hex) is None
