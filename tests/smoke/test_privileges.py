# SPDX-License-Identifier: Apache-2.0
"""Both programs run with the capabilities that docs/privileges.md names, give them up once started, and end at a system call that is not theirs."""
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile

from procs import end_process
from rig import NOBODY, Skipped, expect, expect_eq, wait_until

HERE = pathlib.Path(__file__).resolve().parent
INJECT = HERE / "inject.py"
UNITS = HERE.parent.parent / "scripts/deploy/systemd"
EXECVE, GETPRIORITY, PTRACE, GETUID = 59, 140, 101, 102
IPC_LOCK = 1 << 14
# What each kind of port needs to be opened.
NEEDS = {"tap": ["net_admin"], "af_packet": ["net_admin", "net_raw"], "af_xdp": ["net_admin", "net_raw", "ipc_lock", "sys_admin"]}


def not_sanitized(fn):
    fn.not_sanitized = True  # LeakSanitizer needs what the filter takes away
    return fn


def only(capabilities, uid=None):
    """A prefix of a command: as root, or as another user, with no other capabilities."""
    caps = ",".join(["-all", *("+" + c for c in capabilities)])
    argv = ["setpriv", "--bounding-set", caps, "--inh-caps", caps]
    return argv if uid is None else [*argv, "--reuid", str(uid), "--regid", str(uid), "--clear-groups", "--ambient-caps", caps]


def with_prefix(rig, prefix=(), options=(), owner=None, ctrl_prefix=()):
    """The rig, whose dataplane will be started so."""
    spawn, write = rig._spawn, rig._write_files

    def spawn_so(name, argv, ns):
        argv = {"dataplane": [*prefix, *argv, *options], "ctrl": [*ctrl_prefix, *argv]}.get(name, argv)
        return spawn(name, argv, ns)

    def write_so():
        write()
        if owner is not None:
            os.chown(rig.dir, owner, owner)
    rig._spawn, rig._write_files = spawn_so, write_so
    return rig


def threads(pid):
    """{thread: {field of its status: text}}"""
    found = {}
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        lines = (task / "status").read_text().splitlines()
        found[int(task.name)] = {k: v.strip() for k, _, v in (line.partition(":") for line in lines)}
    return found


def expect_locked_up(pid, capabilities):
    """Every thread has the filter, no new privileges, and these capabilities."""
    for tid, t in threads(pid).items():
        what = f"{t['Name']} ({tid})"
        expect_eq((t["NoNewPrivs"], t["Seccomp"]), ("1", "2"), what)
        for name in ("CapEff", "CapPrm"):
            expect_eq(int(t[name], 16), capabilities, f"{what}: {name}")
        for name in ("CapInh", "CapAmb"):
            expect_eq(int(t[name], 16), 0, f"{what}: {name}")


def lasting():
    """What is kept: with a limit of locked memory it is IPC_LOCK."""
    import resource
    return 0 if resource.getrlimit(resource.RLIMIT_MEMLOCK)[0] == resource.RLIM_INFINITY else IPC_LOCK


def is_served(rig):
    return rig.curl("/x")[0] == 200


def inject(tid, *call):
    """What came of the call."""
    p = subprocess.run([sys.executable, INJECT, str(tid), *map(str, call)], capture_output=True, text=True, timeout=60)
    expect(p.returncode == 0, f"inject.py ended with {p.returncode}: {p.stderr}")
    return p.stdout.strip()


def worker_of(pid):
    return next(tid for tid, t in threads(pid).items() if "worker" in t["Name"])


@not_sanitized
def test_each_kind_of_port_is_served_with_the_capabilities_it_needs(make):
    for port, needs in NEEDS.items():
        with with_prefix(make(port=port), only(needs)) as rig:
            expect(is_served(rig), f"{port}: not served")
            kept = lasting() if "ipc_lock" in needs else 0
            expect_locked_up(rig.procs["dataplane"].pid, kept)
            expect_locked_up(rig.procs["ctrl"].pid, 0)


@not_sanitized
def test_a_memif_needs_no_capability(make):
    with tempfile.TemporaryDirectory() as folder:
        config, log = pathlib.Path(folder, "weir.yaml"), pathlib.Path(folder, "log")
        config.write_text(f"""ports: [{{vdev: "net_memif0,role=server,socket={folder}/memif.sock", addresses: [10.99.0.2/24]}}]
memory: {{hugepages: false, arena_mb: 16}}
pools: {{mbufs: 4096, connections: 1024, requests: 256}}
control: {{socket: {folder}/dataplane.sock}}
""")
        with open(log, "w") as out:
            p = subprocess.Popen([*only([]), pathlib.Path(make.args[0]) / "dataplane/weir-dataplane", "-c", config], stdout=out, stderr=out)
        try:
            wait_until("it serves", lambda: p.poll() is not None or "workers on 1 ports serve" in log.read_text())
            expect(p.poll() is None, log.read_text())
            expect_locked_up(p.pid, 0)
        finally:
            rc = end_process(p)
        expect_eq(rc, 0, f"exit status: {log.read_text()}")


@not_sanitized
def test_no_port_opens_with_a_capability_less(make):
    for port in ("tap", "af_packet"):  # what net_af_xdp needs differs by its libraries
        needs = NEEDS[port]
        for missing in needs:
            rig = with_prefix(make(port=port), only([c for c in needs if c != missing]))
            rig._show_logs = lambda: None  # it is to fail
            try:
                with rig:
                    pass
            except Exception as e:  # that is what is wanted, if it is the dataplane's end
                expect("dataplane ended with 1" in str(e), f"{port} without {missing}: {e}")
            else:
                expect(False, f"{port} opens without {missing}: it is not needed")


@not_sanitized
def test_dataplane_is_another_user_than_root(make):
    for port in ("tap", "af_packet"):
        with with_prefix(make(port=port), only(NEEDS[port], NOBODY - 1), owner=NOBODY - 1) as rig:
            expect(is_served(rig), f"{port}: not served")
            pid = rig.procs["dataplane"].pid
            expect_locked_up(pid, 0)
            expect_eq({t["Uid"].split()[1] for t in threads(pid).values()}, {str(NOBODY - 1)}, "uid")


@not_sanitized
def test_root_keeps_ipc_lock_alone_and_only_while_locked_memory_has_a_limit(make):
    with make(workers=2) as rig:
        expect_locked_up(rig.procs["dataplane"].pid, lasting())
    with with_prefix(make(), ["prlimit", "--memlock=4194304"]) as rig:
        expect(is_served(rig), "not served")
        expect_locked_up(rig.procs["dataplane"].pid, IPC_LOCK)


def expect_killed(rig, name, tid, *call):
    """By SIGSYS. Returns what the program has logged."""
    pid = rig.procs[name].pid
    expect_eq(inject(tid(pid), GETUID), str(0 if name == "dataplane" else NOBODY), f"{name}: a call that it makes")
    expect(rig.procs[name].poll() is None, f"{name} has ended by a call that it makes")
    expect_eq(inject(tid(pid), *call), f"killed by {int(signal.SIGSYS)}", f"{name}: call {call[0]}")
    expect_eq(rig.procs.pop(name).wait(60), -signal.SIGSYS, f"{name}: call {call[0]}")
    return (rig.dir / f"{name}.log").read_text()


def itself(pid):
    return pid


@not_sanitized
def test_seccomp_kills_who_calls_execve(make):
    with make() as rig:
        expect_killed(rig, "dataplane", worker_of, EXECVE, 0, 0, 0)
        rig.start_dataplane()
        expect_killed(rig, "dataplane", itself, PTRACE, 0, 0, 0)
        expect_killed(rig, "ctrl", itself, EXECVE, 0, 0, 0)


@not_sanitized
def test_seccomp_names_a_call_that_is_not_ours_and_ends_the_program(make):
    with make() as rig:
        for name in ("ctrl", "dataplane"):
            log = expect_killed(rig, name, itself, GETPRIORITY, 0, 0)
            expect("seccomp: the system call getpriority (140) is not among those" in log, log)


@not_sanitized
def test_seccomp_can_be_told_to_log_or_to_stay_away(make):
    for mode, seccomp in (("log", "2"), ("off", "0")):
        with with_prefix(make(ctrl_args=("--seccomp", mode)), options=("--seccomp", mode)) as rig:
            for name in ("dataplane", "ctrl"):
                pid = rig.procs[name].pid
                expect_eq(inject(pid, GETPRIORITY, 0, 0), str(20 - os.nice(0)), f"{name}, {mode}: what getpriority returned")
                expect_eq({t["Seccomp"] for t in threads(pid).values()}, {seccomp}, f"{name}, {mode}: filter")
                expect_eq({int(t["CapEff"], 16) & ~IPC_LOCK for t in threads(pid).values()}, {0}, f"{name}, {mode}: capabilities")
            expect(is_served(rig), f"{mode}: not served")


def test_unknown_mode_is_refused(make):
    build = make.args[0]
    for argv in ((f"{build}/dataplane/weir-dataplane", "-c", "/dev/null"), (f"{build}/ctrl/weir-ctrl", "--manifests", "/")):
        p = subprocess.run([*argv, "--seccomp", "sometimes"], capture_output=True, text=True, timeout=60)
        expect_eq(p.returncode, 2, "exit status")
        expect("--seccomp sometimes: on, log or off was expected" in p.stderr, p.stderr)


KUBECONFIG = """apiVersion: v1
kind: Config
current-context: c
clusters: [{{name: k, cluster: {{server: "http://127.0.0.1:9"}}}}]
users: [{{name: u, user: {{exec: {{apiVersion: client.authentication.k8s.io/v1, command: {plugin}, interactiveMode: Never}}}}}}]
contexts: [{{name: c, context: {{cluster: k, user: u}}}}]
"""

PLUGIN = """#!/bin/sh
date >/dev/null || exit 3
echo '{"kind": "ExecCredential", "apiVersion": "client.authentication.k8s.io/v1", "status": {"token": "t"}}'
grep Seccomp: /proc/self/status >PATH.new && mv PATH.new PATH
"""


@not_sanitized
def test_a_credential_plugin_is_started_and_has_the_filter_too(make):
    with make(ctrl=False) as rig:
        ran, plugin = rig.dir / "own" / "ran", rig.dir / "plugin"
        ran.parent.mkdir()
        ran.parent.chmod(0o777)
        plugin.write_text(PLUGIN.replace("PATH", str(ran)))
        plugin.chmod(0o755)
        (rig.dir / "kubeconfig").write_text(KUBECONFIG.format(plugin=plugin))
        rig.ctrl_source = ["--kubeconfig", rig.dir / "kubeconfig"]
        rig.start_ctrl()
        wait_until("the plugin has run", ran.exists)
        expect_eq(ran.read_text().split()[1], "2", "the plugin's filter")
        expect_locked_up(rig.procs["ctrl"].pid, 0)
        expect_killed(rig, "ctrl", itself, PTRACE, 0, 0, 0)


@not_sanitized
def test_units_of_systemd_let_both_programs_start_and_serve(make):
    if not shutil.which("systemd-analyze"):
        raise Skipped("there is no systemd-analyze")
    under = {name: [sys.executable, HERE / "under_unit.py", UNITS / f"weir-{name}.service"] for name in ("dataplane", "ctrl")}
    for port in ("tap", "af_packet"):
        with with_prefix(make(port=port), under["dataplane"], ctrl_prefix=under["ctrl"]) as rig:
            expect(is_served(rig), f"{port}: not served")
            expect_locked_up(rig.procs["dataplane"].pid, lasting())
            expect_locked_up(rig.procs["ctrl"].pid, 0)
