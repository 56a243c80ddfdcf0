# SPDX-License-Identifier: Apache-2.0
"""FRR in a network namespace: zebra and bgpd, with a folder of their own and no traces elsewhere."""
import json
import pathlib
import shutil
import subprocess

from procs import NoAnswer, end_process
from rig import Skipped, wait_until

LIBEXEC = pathlib.Path("/usr/lib/frr")


class Frr:
    """Daemons of FRR with one configuration, while the with-block lasts."""

    def __init__(self, ns, folder, config):
        if not (LIBEXEC / "bgpd").exists():
            raise Skipped("no FRR on this machine")
        self.ns, self.dir, self.config = ns, pathlib.Path(folder), config
        self.procs = []

    def __enter__(self):
        self.dir.mkdir(parents=True, exist_ok=True)
        (self.dir / "frr.conf").write_text(self.config)
        shutil.chown(self.dir, "frr", "frrvty")  # zebra runs as no user that is not of this group
        try:
            self._start("zebra")
            self._start("bgpd")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for p in reversed(self.procs):
            end_process(p, 20)
        shutil.rmtree(self.dir, ignore_errors=True)

    def _start(self, daemon):
        with open(self.dir / f"{daemon}.txt", "wb") as log:
            self.procs.append(subprocess.Popen(
                ["ip", "netns", "exec", self.ns, LIBEXEC / daemon, "-u", "frr", "-g", "frr", "-f", self.dir / "frr.conf",
                 "-i", self.dir / f"{daemon}.pid", "-z", self.dir / "zserv", "--vty_socket", self.dir, "-P", "0", "--log", "stdout"],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL))
        wait_until(daemon, lambda: (self.dir / f"{daemon}.vty").exists())

    def vtysh(self, *commands):
        """What it prints."""
        argv = ["ip", "netns", "exec", self.ns, "vtysh", "--vty_socket", self.dir]
        for c in commands:
            argv += ["-c", c]
        p = subprocess.run(argv, capture_output=True, timeout=60)
        if p.returncode != 0:
            raise NoAnswer(f"vtysh {commands}: {p.stderr.decode()} {p.stdout.decode()}")
        return p.stdout.decode()

    def neighbor(self, address):
        """What bgpd says of a neighbour, or None."""
        return json.loads(self.vtysh(f"show bgp neighbors {address} json")).get(address)

    def is_established(self, address):
        n = self.neighbor(address)
        return bool(n) and n.get("bgpState") == "Established"
