# SPDX-License-Identifier: Apache-2.0
"""What a port alone can carry: dpdk-testpmd forwards frames on the proxy's core and does nothing else.

Another testpmd on the other core makes the frames and takes them back (flowgen). A
request is two frames in each direction of the proxy (request and response, in
and out): half of the frames that come back in a second is what no proxy of this core and port
can exceed with requests that fit in one frame.
"""
import pathlib
import re
import shutil
import signal
import statistics
import subprocess
import tempfile
import time

from contest import AF_XDP, LOAD_CORE, MEMIF, PROXY_CORE, Veth
from bench import Failure, end_process, expect

FRAME_BYTES = 192 # between a request and a response of 0 to 128 bytes
FRAMES_PER_REQUEST = 2


def testpmd():
    found = shutil.which("dpdk-testpmd")
    expect(found, "no dpdk-testpmd: is the package dpdk-dev installed?")
    return found


class Pmd:
    """One dpdk-testpmd, until the with-block is left. place: what goes before its command."""

    def __init__(self, folder, name, core, main_core, ports, place=(), more=()):
        self.log = pathlib.Path(folder) / f"{name}.log"
        self.argv = [*place, testpmd(), "-l", f"{core},{main_core}" if core != main_core else str(core), "--main-lcore", str(main_core),
                     "--no-huge", "-m", "512", "--no-pci", "--no-shconf", "--no-telemetry", "--file-prefix", f"{pathlib.Path(folder).name}-{name}",
                     *(f"--vdev={p}" for p in ports), "--", "--nb-cores=1", "--total-num-mbufs=32768", "--rxd=2048", "--txd=2048",
                     "--stats-period=1", "--no-flush-rx", "--no-lsc-interrupt", "--burst=64", *more]

    def __enter__(self):
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        return self

    def __exit__(self, *_):
        end_process(self.process, 10, signal.SIGINT)

    def rates(self):
        """{port: frames that it received in each second so far}, by its statistics."""
        out = {}
        text = self.log.read_text(errors="replace")
        for port, rate in re.findall(r"NIC statistics for port (\d+).*?Rx-pps:\s*(\d+)", text, flags=re.S):
            out.setdefault(port, []).append(int(rate))
        return out


def rate_of(forwarder, generator, seconds):
    """Frames a second that came back to the generator, which is less than what the forwarder got if it could not send all."""
    end = time.monotonic() + 30
    n = max(round(seconds), 2)
    while True:
        rates = [r[2:] for r in generator.rates().values() if any(r)] # the first two may have seen the start
        if rates and all(len(r) >= n for r in rates):
            return sum(statistics.median(r) for r in rates)
        for p in (forwarder, generator):
            expect(p.process.poll() is None, f"testpmd ended:\n{p.log.read_text(errors='replace')[-2000:]}")
        expect(time.monotonic() < end, "no frame came back through testpmd")
        time.sleep(0.1)


def memif_limit(seconds):
    with tempfile.TemporaryDirectory(prefix="weir-limit-") as d:
        with Pmd(d, "forward", PROXY_CORE, LOAD_CORE, [f"net_memif0,role=server,socket={d}/s,rsize=11"],
                 more=["--forward-mode=io", "--port-topology=loop"]) as forwarder:
            time.sleep(1)
            with Pmd(d, "generate", LOAD_CORE, PROXY_CORE, [f"net_memif0,role=client,socket={d}/s,rsize=11"],
                     more=["--forward-mode=flowgen", "--port-topology=loop", f"--txpkts={FRAME_BYTES}"]) as generator:
                return rate_of(forwarder, generator, seconds)


class Veths(Veth):
    """The namespaces and interfaces only."""

    def __enter__(self):
        self._name_spaces()
        try:
            self._make_network()
        except BaseException:
            self._remove_network()
            raise
        return self

    def __exit__(self, *_):
        self._remove_network()


def af_xdp_limit(build, seconds):
    with Veths(build) as v, tempfile.TemporaryDirectory(prefix="weir-limit-") as d:
        ports = {side: [f"net_af_xdp{i},iface={pair}{side}" for i, pair in enumerate(("client", "origin"))] for side in (0, 1)}
        places = [["ip", "netns", "exec", v.spaces[s]] for s in ("load", "proxy")]
        with Pmd(d, "forward", PROXY_CORE, LOAD_CORE, ports[1], places[1], ["--forward-mode=io"]) as forwarder:
            time.sleep(1)
            with Pmd(d, "generate", LOAD_CORE, PROXY_CORE, ports[0], places[0],
                     ["--forward-mode=flowgen", f"--txpkts={FRAME_BYTES}"]) as generator:
                return rate_of(forwarder, generator, seconds)


def limits(build, seconds):
    """[{port, frames_per_second, requests_per_second}], or with 'failed' where testpmd did not do it."""
    rows = []
    for label, fn in ((MEMIF, lambda: memif_limit(seconds)), (AF_XDP, lambda: af_xdp_limit(build, seconds))):
        try:
            frames = fn()
            rows.append({"port": label, "frames_per_second": frames, "requests_per_second": frames / FRAMES_PER_REQUEST})
        except Failure as e:
            rows.append({"port": label, "failed": str(e)})
    return rows
