# SPDX-License-Identifier: Apache-2.0
"""Checks of weir-host: limits of the running services, real-time scheduling, the clock of the wall."""
import re

from host_checks import File, Keep, check, fail, note, ok, skip, warn

UNIT = "weir-dataplane.service"
DROP_IN = f"{UNIT}.d/50-weir-host.conf"
RELOAD = ("systemctl", "daemon-reload")
LIMITS = ("LimitMEMLOCK=infinity", "LimitNOFILE=65536")
INFINITY = float("inf")
CAP_IPC_LOCK = 14


def number_of(text):
    return INFINITY if text in ("infinity", "unlimited") else int(text) if (text or "").isdigit() else None


def limits_of_process(host, pid):
    """With CAP_IPC_LOCK there is no bound of locked memory."""
    text, status = host.read(f"/proc/{pid}/limits") or "", host.read(f"/proc/{pid}/status") or ""
    memlock, files = (re.search(rf"^{name}\s+(\S+)", text, re.M) for name in ("Max locked memory", "Max open files"))
    caps = re.search(r"^CapEff:\s+([0-9a-f]+)", status, re.M)
    if memlock and caps and int(caps[1], 16) >> CAP_IPC_LOCK & 1:
        return INFINITY, number_of(files[1]) if files else None
    return [number_of(m[1]) if m else None for m in (memlock, files)]


def limits_of_unit(host):
    said = host.command("systemctl", "show", UNIT, "-p", "LoadState,LimitMEMLOCK,LimitNOFILE") or ""
    values = dict(line.partition("=")[::2] for line in said.splitlines())
    if values.get("LoadState") != "loaded":
        return [None, None]
    return [number_of(values.get("LimitMEMLOCK")), number_of(values.get("LimitNOFILE"))]


@check("limits", "weir-dataplane may lock memory without a bound (VFIO pins what the NIC may reach, keys are locked), and open enough files: "
       "each hugepage is one. Read from the running process, else from its systemd unit.",
       "`LimitMEMLOCK=infinity` and `LimitNOFILE=65536` in a drop-in of the unit; they count from its next start on.")
def limits(host, needs):
    pids = host.pids("weir-dataplane")
    memlock, files = limits_of_process(host, pids[0]) if pids else limits_of_unit(host)
    if memlock is None or files is None:
        yield skip("those of another user's process are for root to see" if pids else "weir-dataplane does not run, and systemd has no unit of it")
        return
    mends = {"mend": "ulimit -l unlimited -n 65536, of whoever starts weir-dataplane"}
    if host.exists("/run/systemd/system"):  # else a folder by this name would tell others that systemd runs
        mends = {"actions": (File(f"/run/systemd/system/{DROP_IN}", "[Service]\n" + "\n".join(LIMITS) + "\n", RELOAD),),
                 "keep": tuple(Keep("unit", line) for line in LIMITS)}
    mb = needs.memory_mb if needs.hugepages else 0
    least_bytes, least_files = (mb + 64) << 20, mb // 2 + 1024
    bad = []
    if memlock < least_bytes:
        bad.append((f"locked memory {memlock >> 10} KiB", "unlimited"))
    if files < least_files:
        bad.append((f"{files} open files", f"{max(least_files, 65536)}"))
    if bad:
        yield fail("", ", ".join(b[0] for b in bad), ", ".join(b[1] for b in bad), "DPDK does not get its memory", **mends)
    else:
        yield ok("", "locked memory and open files suffice", keep=mends.get("keep", ()))


@check("realtime", "What real-time tasks may take of a core (`kernel.sched_rt_runtime_us`): a note. Workers are not real-time tasks; one on their core would starve them.",
       "Nothing, unless there are such tasks: then on other cores.", needs_config=False)
def realtime(host, needs):
    now = host.read("/proc/sys/kernel/sched_rt_runtime_us")
    if now is None:
        yield skip(f"not shown {host.place}")
    elif now == "-1":
        yield note("", "real-time tasks may take a core for ever", "one on a worker's core would starve it")
    else:
        yield ok("", f"real-time tasks get {now} us of a period at most")


@check("time", "The clock is synchronised: certificates, OCSP responses, session tickets and Leases go by it.",
       "`systemctl enable --now systemd-timesyncd`, or chrony.", needs_config=False)
def time(host, needs):
    said = host.command("timedatectl", "show", "-p", "NTPSynchronized", "--value")
    if said == "yes":
        yield ok("", "synchronised")
    elif said == "no":
        yield warn("", "not synchronised", "synchronised", "certificates are valid by it", mend="systemctl enable --now systemd-timesyncd")
    else:
        yield skip(f"timedatectl does not answer {host.place}")
