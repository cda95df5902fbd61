"""The engine child: a process for one device, spawned by the supervisor, that keeps the models resident.

It loads its bundles, sends Ready or NotReady, and works until it is told to stop, the device breaks or its parent ends.
This module is imported by the supervisor, too, so torch is imported inside `main`, which runs in the child only.
"""

import os
import signal
import sys
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from jobs.json_log import log_as_json
from models.errors import DeviceError, ModelsError
from processes.parent_death import die_with_parent, prefer_as_victim
from worker.engine_config import EngineConfig
from worker.engine_death import DEVICE_BROKEN_EXIT_CODE, MEMORY_EXIT_CODE
from worker.messages import Cancel, Command, NotReady, Ping, Pong, Stop, Task

if TYPE_CHECKING:
    from worker.engine import Engine  # loads torch


def main(connection: Connection, config: EngineConfig, parent: int) -> None:
    """The entry of the process."""
    die_with_parent(parent)
    prefer_as_victim(300)  # after the decoders: they lose less
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the supervisor drains; Ctrl-C reaches the whole group
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    log_as_json()
    try:
        from worker.engine_startup import start_engine

        engine = start_engine(connection.send, config)
    except ModelsError as error:
        connection.send(NotReady(str(error), of_device=isinstance(error, DeviceError)))
        return
    except (MemoryError, OSError, RuntimeError) as error:
        connection.send(NotReady(f"cannot load the models: {type(error).__name__}: {error}", of_device=True))
        return
    _work(connection, engine)


def _work(connection: Connection, engine: "Engine") -> None:
    """Take turns while there are images; take commands between turns, and wait for them when there are none."""
    from worker.engine_errors import DeviceBroken

    while True:
        try:
            while not engine.busy or connection.poll():
                try:
                    command: Command = connection.recv()
                except EOFError:
                    return
                if isinstance(command, Stop):
                    return
                if isinstance(command, Task):
                    engine.admit(command)
                elif isinstance(command, Cancel):
                    engine.cancel(command.id)
                elif isinstance(command, Ping):
                    connection.send(Pong())
            engine.turn()
        except DeviceBroken as error:
            print(f"the device is broken: {error}", file=sys.stderr, flush=True)  # noqa: T201 - the process ends here
            os._exit(DEVICE_BROKEN_EXIT_CODE)
        except MemoryError:  # outside of the work for one image: while it takes a picture in, for example
            os._exit(MEMORY_EXIT_CODE)
        except (BrokenPipeError, ConnectionResetError):
            return
