"""What can go wrong in this room.

ModelsError
├── BundleError       a bundle is missing, damaged, or does not fit its networks
├── DeviceError       the device asked for is not there, or ran out of memory
├── PhotoError        a file is not a photo that can be restored
│   └── PhotoTooLarge
├── ControlsError     a user's word (degradation name, range) is not understood
└── TrainingError     a training run cannot start or go on

Every message says what is wrong, why, and what to do next.
"""


class ModelsError(Exception):
    """The root: one sentence for the user, never a traceback."""


class BundleError(ModelsError):
    """A bundle is missing, damaged, or does not fit its networks."""


class DeviceError(ModelsError):
    """The device asked for is not there, or ran out of memory."""


class PhotoError(ModelsError):
    """A file is not a photo that can be restored."""


class PhotoTooLarge(PhotoError):
    """A photo is over the pixel or byte limit; known from its header, before decoding."""


class ControlsError(ModelsError):
    """A user's word is not understood: a degradation name, or a number out of its range."""


class TrainingError(ModelsError):
    """A training run cannot start or go on."""
