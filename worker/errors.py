"""The errors of this room.

WorkerError
└── RedisRefused    Redis answers, but not to this worker: the URL, the user or the password is wrong
"""


class WorkerError(Exception):
    """The root; its message is one sentence for the operator, without secrets."""


class RedisRefused(WorkerError):
    """Redis answers, but not to this worker."""
