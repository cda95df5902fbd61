"""The base of what is kept in Redis as JSON."""

from pydantic import BaseModel, ConfigDict


class StoredModel(BaseModel):
    """Reads JSON without remembering its values.

    By default, pydantic keeps up to 16,384 strings that it has read, so that equal ones share their memory.  Ids and
    digests never repeat: each process grew for its first hours, and nobody could tell that from a leak.
    """

    model_config = ConfigDict(cache_strings="keys")
