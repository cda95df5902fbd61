"""The URLs of Redis and of the blob store on the command line."""

from jobs.blob_store import check_store_url
from jobs.errors import RedisUrlError, StoreError
from jobs.shards.urls import checked_urls
from models.errors import ControlsError


def checked_redis_url(url: str) -> str:
    """Returns the URL in the words of the Redis client, or several URLs, or the file that has them (jobs.shards.urls).

    Raises:
        ControlsError: it is not valid; the message names the allowed schemes and hides the password.
    """
    try:
        return checked_urls(url)
    except RedisUrlError as error:
        raise ControlsError(f"{error}. Change --redis-url or UNDEGRADE_REDIS_URL.") from None


def checked_store_url(url: str) -> str:
    """Returns the URL.

    Raises:
        ControlsError: it is no URL of a store; the message names the allowed ones.
    """
    try:
        check_store_url(url)
    except StoreError as error:
        raise ControlsError(f"{error}. Change --store-url or UNDEGRADE_STORE_URL.") from None
    return url
