"""Validation of a restoration network: PSNR, scores, and the contact sheet."""

import pytest
import torch

from models.training.core.validation import contact_sheet, score_restoration
from models.vocabulary import CLEAN


def test_the_score_is_the_mean_gain_and_clean_counts_below_40_db():
    gray = torch.zeros(2, 3, 8, 8)
    examples = [{"degraded": gray + 0.2, "target": gray}, {"degraded": gray, "target": gray}]
    result = score_restoration(examples, ("noise", CLEAN), lambda example: [example["degraded"] / 2])
    assert result.figures["noise"] == pytest.approx(6.02, abs=0.01)
    assert result.figures[CLEAN] > 40
    assert result.score == pytest.approx(result.figures["noise"] / 2)


def test_the_contact_sheet_puts_two_rows_side_by_side():
    rows = [[torch.full((3, 4, 6), float(value)), torch.zeros(3, 4, 6)] for value in (-1, 1)]
    sheet = contact_sheet(rows)
    assert sheet.shape == (4, 24, 3)
    assert sheet[0, 0, 0] == 0 and sheet[0, 12, 0] == 1 and sheet[0, 6, 0] == 0.5
