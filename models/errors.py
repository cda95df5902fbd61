"""The errors of this room.

ModelsError
├── BundleError       a bundle is missing, damaged, or does not fit its networks
├── DeviceError       the requested device is not available, is broken, or ran out of memory
├── PhotoError        a file is not a photo that can be restored
│   ├── PhotoTooLarge
│   └── UnsupportedPhoto
├── ProvenanceError   a result cannot be signed: the certificate or the key is missing, wrong, or has expired
├── ControlsError     a degradation name or a number of the user is not valid
│   ├── UnfitControls     they do not fit this photo
│   └── PromptNotUnderstood   the prompt asks for something that the bundle cannot do
└── TrainingError     a training run cannot start or continue

Every message says what is wrong, why, and what to do next.
"""


class ModelsError(Exception):
    """The root; its message is one sentence for the user."""


class BundleError(ModelsError):
    """A bundle is missing, damaged, or does not fit its networks."""


class DeviceError(ModelsError):
    """The requested device is not available, is broken, or ran out of memory."""


class PhotoError(ModelsError):
    """A file is not a photo that can be restored."""


class PhotoTooLarge(PhotoError):
    """A photo is over the pixel or byte limit; known from its header, before decoding."""


class UnsupportedPhoto(PhotoError):
    """A file is of a kind that is not restored: a camera raw, a 12-bit JPEG, several pages."""


class ProvenanceError(ModelsError):
    """A result cannot be signed."""


class ControlsError(ModelsError):
    """A degradation name is unknown, or a number is out of its range."""


class UnfitControls(ControlsError):
    """The controls do not fit this photo: a crop is not within it, or an enlargement is over the limit."""


class PromptNotUnderstood(ControlsError):
    """The prompt asks for no repair that the bundle knows, or also for one that it does not know.

    Attributes:
        can: the repairs of the bundle.
        cannot: the repairs that were asked for and that it does not know.
    """

    def __init__(self, message: str, can: tuple[str, ...] = (), cannot: tuple[str, ...] = ()) -> None:
        super().__init__(message, can, cannot)  # all of them, so that the error survives pickling
        self.message, self.can, self.cannot = message, can, cannot

    def __str__(self) -> str:
        return self.message


class TrainingError(ModelsError):
    """A training run cannot start or continue."""
