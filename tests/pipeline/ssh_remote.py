"""An SSH server on loopback with SFTP (asyncssh, which DVC's client is made of, too): the SSH remote of the tests."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncssh


@dataclass(frozen=True)
class Door:
    """Where the server listens, its own key, and the key that it lets in."""

    port: int
    host: asyncssh.SSHKey
    user: asyncssh.SSHKey

    def open_for(self, home: Path) -> None:
        """Give a home folder what a user's has: the private key, and the server among the known hosts."""
        folder = home / ".ssh"
        folder.mkdir(mode=0o700)
        self.user.write_private_key(folder / "id_ed25519")
        (folder / "id_ed25519").chmod(0o600)
        known = self.host.export_public_key().decode().strip()
        (folder / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {known}\n")


@contextmanager
def kept_by(folder: Path) -> Iterator[Door]:
    """Serve the files in `folder` by SFTP to whoever has the key."""
    folder.mkdir(parents=True)
    host, user = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
    keys = folder.with_name("authorized_keys")
    user.write_public_key(keys)

    async def start() -> asyncssh.SSHAcceptor:
        def files(channel: asyncssh.SSHServerChannel) -> asyncssh.SFTPServer:
            return asyncssh.SFTPServer(channel, chroot=folder)

        return await asyncssh.listen(
            "127.0.0.1", 0, server_host_keys=[host], authorized_client_keys=str(keys), sftp_factory=files
        )

    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = asyncio.run_coroutine_threadsafe(start(), loop).result()
    yield Door(server.get_port(), host, user)
    loop.call_soon_threadsafe(server.close)
    asyncio.run_coroutine_threadsafe(server.wait_closed(), loop).result()
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()
