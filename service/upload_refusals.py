"""The refusals of an image that is uploaded: its length, its pixels and its format."""

from http import HTTPStatus

from service.refusals import Refusal


class TooLarge(Refusal):
    """The upload has more bytes than the limit."""

    status, code = HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "too-large"
    hint = "scale the image down or compress it; GET /limits returns the limit"


class TooManyPixels(TooLarge):
    """The image has more pixels than the limit."""

    code = "too-many-pixels"
    hint = "scale the image down; GET /limits returns the limit"


class UnsupportedBody(Refusal):
    """The body has none of the three forms."""

    status, code = HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported-body"
    hint = "send multipart/form-data with a file 'image', the image itself as image/*, or JSON with image_base64"


class UnsupportedEncoding(Refusal):
    """The body is compressed."""

    status, code = HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "unsupported-encoding"
    hint = "send the body without Content-Encoding: image files are compressed already"


class NotAnImage(Refusal):
    """The data are not an image."""

    status, code = HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "not-an-image"
    hint = "send a JPEG, PNG, WebP, TIFF or AVIF file"


class UnsupportedFormat(NotAnImage):
    """The data are an image in a format that we do not read."""

    code = "unsupported-format"
