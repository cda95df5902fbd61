"""The URL of Redis on the command line."""

from jobs.errors import RedisUrlError
from jobs.redis_client import checked_url
from models.errors import ControlsError


def checked_redis_url(url: str) -> str:
    """Returns the URL in the words of the Redis client.

    Raises:
        ControlsError: it is not valid; the message names the allowed schemes and hides the password.
    """
    try:
        return checked_url(url)
    except RedisUrlError as error:
        raise ControlsError(f"{error}. Change --redis-url or UNDEGRADE_REDIS_URL.") from None
