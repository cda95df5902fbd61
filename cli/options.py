"""Options that several commands share, so that they have one name, one type and one help text."""

from pathlib import Path
from typing import Annotated

import typer

Photos = Annotated[
    list[str], typer.Argument(metavar="PHOTO", help="Photos, folders or glob patterns; - reads one photo from stdin.")
]
Device = Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N. Default: UNDEGRADE_DEVICE, or else auto.")]
Bundle = Annotated[
    str | None, typer.Option(help="Name or folder of the bundle. Default: UNDEGRADE_BUNDLE, or else autodir-small.")
]
ServedBundles = Annotated[
    list[str] | None,
    typer.Option(
        help="Name or folder of a bundle. Repeat it to serve several; the first is the default. "
        "Default: UNDEGRADE_BUNDLE, or else autodir-small."
    ),
]
AcceptLicense = Annotated[
    bool, typer.Option("--accept-license", help="Accept the license terms that the command prints.")
]
Host = Annotated[str | None, typer.Option(help="Address to listen on. Default: UNDEGRADE_HOST, or else 127.0.0.1.")]
Port = Annotated[
    int | None,
    typer.Option(
        min=0, max=65535, help="Port to listen on; 0 takes a free port. Default: UNDEGRADE_PORT, or else 8000."
    ),
]
UnixSocket = Annotated[
    Path | None,
    typer.Option(
        help="Listen on this Unix socket instead of an address and a port. Default: UNDEGRADE_UNIX_SOCKET, if set."
    ),
]
UnixSocketMode = Annotated[
    str | None,
    typer.Option(help="Permissions of the Unix socket. Default: UNDEGRADE_UNIX_SOCKET_MODE, or else 660."),
]
RedisUrl = Annotated[
    str | None,
    typer.Option(
        help="redis://, rediss://, unix:// or redis+sentinel:// URL of Redis; several, or @FILE, for shards. "
        "Default: UNDEGRADE_REDIS_URL."
    ),
]
DataFolder = Annotated[
    Path | None,
    typer.Option("--data", help="Data folder of `serve`'s own Redis server, running or not. Default: UNDEGRADE_DATA."),
]
JsonRows = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table, one object per line.")]
StoreUrl = Annotated[
    str | None,
    typer.Option(help="Where images are stored: redis://, file:// or s3://. Default: UNDEGRADE_STORE_URL."),
]
Server = Annotated[
    str | None,
    typer.Option(help="URL of a server that restores the photos. Default: this machine does it."),
]
ApiKeyFile = Annotated[
    Path | None, typer.Option(help="File with the API key for --server. Default: UNDEGRADE_API_KEY.")
]
MetricsPort = Annotated[
    int | None,
    typer.Option(
        min=0, max=65535, help="Serve Prometheus metrics at /metrics on this port. Default: UNDEGRADE_METRICS_PORT."
    ),
]
NoPage = Annotated[
    bool, typer.Option("--no-page", help="Do not serve the page at /. Default: UNDEGRADE_PAGE, or else on.")
]
