"""Small files of all kinds that photo_mutations knows, for the corpora: some hundred bytes each."""

import photo_mutations
from photo_mutations import samples


def small_photos() -> list[bytes]:
    """Returns a whole file of each kind, 16 x 12 pixels."""
    width, height = photo_mutations.WIDTH, photo_mutations.HEIGHT
    photo_mutations.WIDTH, photo_mutations.HEIGHT = 16, 12
    try:
        return [data for data in samples().values() if len(data) <= 4096]
    finally:
        photo_mutations.WIDTH, photo_mutations.HEIGHT = width, height
