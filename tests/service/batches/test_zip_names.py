"""The names of results in a zip file: safe on every system, unique, and like those of the caller's files."""

import re

from hypothesis import given
from hypothesis import strategies as st

from service.batches.zip_names import ZipNames


def test_the_name_is_that_of_the_callers_file_with_the_ending_of_the_result():
    names = ZipNames()
    assert names.name(1, "beach.jpeg", "png") == "beach.png"
    assert names.name(2, "C:\\photos\\beach.tif", "png") == "beach (2).png"
    assert names.name(3, "../../BEACH.jpg", "png") == "BEACH (3).png"
    assert names.name(4, None, "jpg") == "image-0004.jpg" and names.name(5, "..", "jpg") == "image-0005.jpg"
    assert names.name(6, "Grüße 2.0 final.png", "jpg") == "Grüße 2.0 final.jpg"
    assert names.name(7, "CON.png", "jpg") == "_CON.jpg"


@given(st.lists(st.one_of(st.none(), st.text(max_size=150)), max_size=30))
def test_any_names_become_unique_names_within_one_folder(file_names):
    names = ZipNames()
    found = [names.name(index, name, "jpg") for index, name in enumerate(file_names, 1)]
    assert len({name.casefold() for name in found}) == len(found)
    for name in found:
        assert not re.search(r'[\x00-\x1f<>:"/\\|?*]', name) and not name.startswith((".", " "))
        assert len(name) < 120 and name.encode()
