"""The example of Redis in `GET /system`, for the OpenAPI document."""

from typing import Any

REDIS: dict[str, Any] = {
    "url": "redis://queue:6379/0", "version": "9.0.1", "role": "master", "cluster": False, "appendonly": True,
    "appendfsync": None, "save": None, "maxmemory_policy": "allkeys-lru", "maxmemory_bytes": 2147483648,
    "used_memory_bytes": 71303168, "last_aof_write": "ok", "last_snapshot": "ok",
    "not_readable": ["appendfsync", "save"],
    "problems": [{
        "severity": "error", "problem": "maxmemory-policy is allkeys-lru: when memory is short, Redis deletes jobs",
        "remedy": "set it to noeviction: CONFIG SET maxmemory-policy noeviction, and in the configuration file",
    }],
}  # fmt: skip
