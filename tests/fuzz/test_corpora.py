"""Every input of the fuzzers' corpora, and every input that was a finding once, without atheris."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from run import CORPUS, TARGETS, target


@pytest.mark.parametrize("name", TARGETS)
def test_the_corpus_of_a_target_finds_nothing(name):
    module = target(name)
    inputs = [*module.seeds(), *(path.read_bytes() for path in sorted((CORPUS / name).glob("*")))]
    assert len(inputs) >= 4 and all(len(data) <= 4096 for data in inputs)
    for data in inputs:
        getattr(module, "check", module.run)(data)


@pytest.mark.parametrize("name", TARGETS)
def test_a_target_takes_any_bytes(name):
    for data in (b"", b"\0", b"\xff" * 64, "\u00b2\n\n".encode(), bytes(range(256))):
        target(name).run(data)
