"""A uvicorn server that ends long polls and event streams as soon as it is asked to stop."""

import asyncio
import warnings
from types import FrameType

import uvicorn
from fastapi import FastAPI

from service.connection import Patience, connection_class
from service.settings import ServiceSettings

GRACE_S = 10


class Server(uvicorn.Server):
    """Ends every wait on a signal; otherwise an open event stream would delay the exit by the whole grace period."""

    def __init__(self, app: FastAPI, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.app = app
        self._loop: asyncio.AbstractEventLoop | None = None

    async def startup(self, *arguments: object, **keywords: object) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(*arguments, **keywords)  # type: ignore[arg-type]

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        self.end_waits()

    def end_waits(self) -> None:
        """End every wait.  May be called from any thread or signal handler."""
        if self._loop is not None and hasattr(self.app.state, "desk"):
            self._loop.call_soon_threadsafe(self.app.state.desk.waiters.close)


def server_for(app: FastAPI, settings: ServiceSettings) -> Server:
    """Return the server of an application; its `run()` blocks until a signal."""
    warnings.filterwarnings("ignore", module=r"PIL\.")  # a warning about an upload's EXIF does not belong in our log
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        ws="none",
        http=connection_class(Patience(head_s=settings.head_s, stall_s=settings.stall_s), settings.root_path),
        proxy_headers=False,  # the application trusts only the proxies of its settings
        timeout_keep_alive=settings.idle_s,
        timeout_graceful_shutdown=GRACE_S,
    )
    return Server(app, config)
