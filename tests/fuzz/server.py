"""A server to be tormented."""

import json
import signal
import subprocess
from pathlib import Path
from typing import IO


class Server:
    """`gareum serve` at a free port, with a setting for each of `settings`."""

    def __init__(self, gareum: Path, model: Path, settings: list[str], log: IO | None = None) -> None:
        flags = [word for setting in settings for word in ("--set", setting)]
        command = [gareum, "serve", "--model", model, "--port", "0", "--json", *flags]
        self.process = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, stderr=log, text=True)
        host, port = json.loads(self.process.stdout.readline())["url"].removeprefix("http://").rsplit(":", 1)
        self.address = (host, int(port))

    def end(self) -> int:
        """Asks it to end; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(60)
