# SPDX-License-Identifier: Apache-2.0
"""The access log: a line for each request, valid JSON, and what is lost is counted."""
import calendar
import json
import os
import signal
import socket
import subprocess
import time

from rig import PEER4, WEB, WEIR4, WRK, expect, expect_eq, wait_until

LOG = ", access_log_kb: 8192"


class Log:
    """The rig's access log, in a folder where weir-ctrl's user may write."""

    def __init__(self, rig_dir):
        self.dir = rig_dir / "logs"
        self.file = self.dir / "access.json"
        self.dir.mkdir()
        self.dir.chmod(0o777)

    def lines(self, *files):
        out = []
        for f in files or (self.file,):
            wait_until("whole lines", lambda f=f: f.read_bytes()[-1:] in (b"", b"\n"))  # what is written at once may end within one
            out += [json.loads(line) for line in f.read_bytes().decode().splitlines()]  # UTF-8, or it fails
        return out

    def n_lines(self, *files):
        return sum(f.read_bytes().count(b"\n") for f in files or (self.file,))


def start(rig, *args):
    """Starts weir-ctrl of a rig that has none, with an access log."""
    log = Log(rig.dir)
    rig.start_ctrl("--access-log", log.file, *args)
    rig.wait_healthy()
    wait_until("it reads", lambda: "access log: " in (rig.dir / "ctrl.log").read_text())
    return log


def records(rig):
    return int(rig.metric_sum("weir_access_log_records_total"))


def dropped(rig, reason=""):
    return int(rig.metric_sum("weir_ctrl_access_log_dropped_total", reason))


def no_clients(rig):
    """wrk leaves with requests in hand: their records come with the ends of their connections."""
    wait_until("no client is left", lambda: rig.metric_sum("weir_client_connections") == 0)


def settled(rig, log, *files):
    """The lines, once every record has become one or was dropped, and all stand in the files."""
    wait_until("every record is read", lambda: rig.metric_sum("weir_ctrl_access_log_lines_total") + dropped(rig) +
               rig.metric_sum("weir_ctrl_access_log_sampled_out_total") >= records(rig))
    wait_until("all lines are written", lambda: log.n_lines(*files) >= rig.metric_sum("weir_ctrl_access_log_lines_total"))
    return log.lines(*files)


def wrk(rig, seconds, path="/"):
    p = rig.run([*WRK, "-t1", "-c16", f"-d{seconds}s", "-H", "Host: shop.example.com", f"http://{WEIR4}{path}"])
    expect("Non-2xx" not in p.stdout.decode() and "Socket errors" not in p.stdout.decode(), p.stdout.decode())


def raw(rig, data, wait=True):
    """Sends bytes on a connection of their own, from the peers' namespace."""
    script = "import socket,sys\ns=socket.create_connection((sys.argv[1],80),timeout=10)\ns.sendall(bytes.fromhex(sys.argv[2]))\n" + \
             ("while s.recv(65536): pass\n" if wait else "")
    rig.run(["python3", "-c", script, WEIR4, data.hex()], check=wait)


def test_a_line_tells_how_a_request_went(make):
    with make(ctrl=False, yaml_memory=LOG) as rig:
        log = start(rig)
        before = time.time()
        rig.curl("/a?b=c", args=["-A", "an \"agent\"", "-e", "http://from.example/", "-H", "X-Request-Id: my-id"])
        rig.curl("/up/x", args=["-X", "PUT", "--data-binary", "x" * 1000])
        rig.curl("/", host="nobody.example.com")
        rig.curl("/gone")  # the endpoint closes without an answer, whatever connection is tried
        raw(rig, b"GET / HTTP/1.1\r\nHost : a\r\n\r\n")
        raw(rig, b"GET / HTTP/1.1\r\nHost: shop.example.com\r\nUser-Agent: caf\xc3\xa9 \xe9\xff\r\nConnection: close\r\n\r\n")
        raw(rig, b"PUT /up/y HTTP/1.1\r\nHost: shop.example.com\r\nContent-Length: 5\r\n\r\nab", wait=False)
        raw(rig, b"GET / HTT", wait=False)
        wait_until("the clients' end", lambda: records(rig) == 8)
        lines = settled(rig, log)
        expect_eq(len(lines), 8, "lines")
        first, put, lost, gone, bad, latin, cut, begun = lines
        for key, value in {"method": "GET", "host": "shop.example.com", "target": "/a?b=c", "protocol": "HTTP/1.1",
                           "status": 200, "route_kind": "Ingress", "route_namespace": "demo", "route_name": "shop", "rule": 0,
                           "backend": "demo/web:80", "endpoint": PEER4, "endpoint_port": WEB, "tries": 1, "client": PEER4,
                           "local": WEIR4, "local_port": 80, "user_agent": 'an "agent"', "referer": "http://from.example/",
                           "request_id": "my-id", "request_bytes": 0, "worker": 0}.items():
            expect_eq(first.get(key), value, key)
        expect("reason" not in first and "cut" not in first["flags"], f"it went well: {first}")
        expect(first["head_us"] <= first["connected_us"] <= first["sent_us"] <= first["first_us"] <= first["end_us"], "times in order")
        at = time.strptime(first["time"][:19], "%Y-%m-%dT%H:%M:%S")
        expect(before - 2 < calendar.timegm(at) < time.time() + 1, f"time {first['time']}")
        expect_eq((put["method"], put["request_bytes"], put["status"]), ("PUT", 1000, 201), "a body")
        expect("reused" in put["flags"] or put["tries"] >= 1, "the connection")
        expect_eq((lost["status"], lost["reason"]), (404, "req_no_route"), "no route")
        expect("own" in lost["flags"] and "backend" not in lost, "Weir's own answer")
        expect_eq((gone["status"], gone["reason"]), (502, "req_upstream_closed"), "the endpoint closed")
        expect(gone["tries"] > 1 and "retried" in gone["flags"], f"more than one try: {gone}")
        expect_eq((bad["status"], bad["reason"], bad["detail"]), (400, "req_bad", "bad_field_name"), "a bad head")
        expect("method" not in bad and "protocol" not in bad, "nothing of it is believed")
        expect_eq((latin["status"], latin["user_agent"]), (200, "caf\u00e9 \u00e9\u00ff"), "bytes that are no UTF-8")
        expect_eq((cut["reason"], "cut" in cut["flags"]), ("req_client_gone", True), f"the client went: {cut}")
        expect_eq((begun["reason"], begun["status"]), ("req_client_gone", 0), "within its head")


def test_as_many_lines_as_requests_and_none_lost_by_rotation(make):
    with make(workers=2, ctrl=False, yaml_memory=LOG) as rig:
        log = start(rig)
        old = []
        load = rig.spawn([*WRK, "-t1", "-c16", "-d6s", "-H", "Host: shop.example.com", f"http://{WEIR4}/"],
                         stdout=subprocess.DEVNULL)
        for i in range(5):
            time.sleep(0.5)
            wait_until("lines", lambda: log.file.stat().st_size > 0)
            old.append(log.dir / f"access.json.{i}")
            log.file.rename(old[-1])
            rig.procs["ctrl"].send_signal(signal.SIGUSR1)
            wait_until("a new file", log.file.exists)
        expect_eq(load.wait(60), 0, "wrk")
        no_clients(rig)
        lines = settled(rig, log, *old, log.file)
        expect_eq(dropped(rig), 0, "dropped")
        expect_eq(len(lines), records(rig), "lines and records")
        expect_eq(sum("method" in line for line in lines), int(rig.metric_sum("weir_http_requests_total")), "lines and requests")
        expect_eq(sum(line["status"] == 200 for line in lines), int(rig.metric_sum("weir_http_responses_2xx_total")), "answers")
        expect(len({line["request_id"] for line in lines}) == len(lines), "each request once")
        expect(len(log.lines(old[2])) > 0, "lines in a file that was renamed")
        expect_eq(rig.metric_sum("weir_ctrl_access_log_reopened_total"), 5, "files")


def test_what_a_paused_ctrl_does_not_read_is_counted_exactly(make):
    with make(ctrl=False, yaml_memory=", access_log_kb: 64") as rig:
        log = start(rig)
        wrk(rig, 1)
        rig.procs["ctrl"].send_signal(signal.SIGSTOP)
        wrk(rig, 2)
        rig.procs["ctrl"].send_signal(signal.SIGCONT)
        no_clients(rig)
        lines = settled(rig, log)
        expect(dropped(rig, "overwritten") > 0, "some were overwritten")
        expect_eq(len(lines) + dropped(rig, "overwritten"), records(rig), "lines and those overwritten")
        expect_eq(dropped(rig), dropped(rig, "overwritten"), "and for no other reason")


def test_a_ctrl_that_is_killed_begins_where_the_rings_are(make):
    with make(ctrl=False, yaml_memory=LOG) as rig:
        log = start(rig)
        rig.curl("/one")
        wait_until("its line", lambda: len(log.lines()) == 1)
        rig.stop("ctrl", signal.SIGKILL)
        rig.curl("/between")
        (rig.dir / "ctrl.log").write_text("")
        rig.start_ctrl("--access-log", log.file)
        rig.wait_healthy()
        wait_until("it reads", lambda: "access log: " in (rig.dir / "ctrl.log").read_text())
        rig.curl("/two")
        wait_until("its line", lambda: len(log.lines()) == 2)
        expect_eq([line["target"] for line in log.lines()], ["/one", "/two"], "appended, nothing twice")
        # Another dataplane: its first request is not missed, and the old one's last was read before it went.
        rig.curl("/last")
        rig.stop("dataplane")
        rig.start_dataplane()
        rig.wait_healthy()
        wait_until("routes", lambda: rig.curl("/new", check=False)[0] == 200)
        wait_until("its lines", lambda: any(line.get("target") == "/new" for line in log.lines()))
        expect("/last" in [line.get("target") for line in log.lines()], "the last one of the dataplane that went")


def test_a_reader_that_does_not_read_stops_nothing(make):
    with make(ctrl=False, yaml_memory=LOG) as rig:
        read_end, write_end = os.pipe()
        argv = ["ip", "netns", "exec", rig.ns, str(rig.build / "ctrl/weir-ctrl"), "--manifests", str(rig.dir / "manifests"),
                "--socket", str(rig.dir / "dataplane.sock"), "--admin", "127.0.0.1:9901", "--user", "nobody", "--access-log", "-"]
        with open(rig.dir / "ctrl.log", "ab") as err:
            rig.procs["ctrl"] = subprocess.Popen(argv, stdout=write_end, stderr=err, stdin=subprocess.DEVNULL)
        os.close(write_end)
        rig.wait_healthy()
        wait_until("it reads", lambda: "access log: " in (rig.dir / "ctrl.log").read_text())
        # A long target, so that the buffer is full soon.
        path = "/" + "a" * 390
        end = time.monotonic() + 60
        while dropped(rig, "sink_slow") == 0 and time.monotonic() < end:
            wrk(rig, 1, path)
        expect(dropped(rig, "sink_slow") > 0, "lines that nobody reads are dropped")
        expect(rig.is_healthy(), "all else goes on")
        wait_until("each is a line, or dropped",
                   lambda: rig.metric_sum("weir_ctrl_access_log_lines_total") + dropped(rig) == records(rig))
        os.close(read_end)  # nobody will ever read
        rig.curl("/")
        wait_until("the error is seen", lambda: rig.metric_sum("weir_ctrl_access_log_errors_total") > 0)
        n = rig.metric_sum("weir_ctrl_access_log_dropped_total", "write_error")
        rig.curl("/", args=["-A", "x" * 200])
        expect("Broken pipe" in (rig.dir / "ctrl.log").read_text(), "and told")
        expect(rig.metric_sum("weir_ctrl_access_log_dropped_total", "write_error") >= n and rig.is_healthy(), "counted by its reason")


def test_a_full_disk_is_counted_and_passes(make):
    with make(ctrl=False, yaml_memory=LOG) as rig:
        log = start(rig)
        rig.curl("/one")
        wait_until("its line", lambda: len(log.lines()) == 1)
        log.file.rename(log.dir / "old")
        log.file.symlink_to("/dev/full")
        rig.procs["ctrl"].send_signal(signal.SIGUSR1)
        wait_until("opened again", lambda: rig.metric_sum("weir_ctrl_access_log_reopened_total") == 1)
        rig.curl("/two")
        wait_until("the error is seen", lambda: rig.metric_sum("weir_ctrl_access_log_errors_total") > 0)
        expect("No space left" in (rig.dir / "ctrl.log").read_text(), "and told")
        log.file.unlink()
        rig.procs["ctrl"].send_signal(signal.SIGUSR1)
        wait_until("the line that waited", lambda: log.file.exists() and len(log.lines()) == 1)
        expect_eq(log.lines()[0]["target"], "/two", "it was kept")


def test_one_of_n_and_none_at_all(make):
    with make(ctrl=False, yaml_memory=LOG) as rig:
        log = start(rig, "--access-log-sample", "10")
        for i in range(30):
            rig.curl(f"/{i}")
        no_clients(rig)
        expect_eq(len(settled(rig, log)), 3, "one of ten")
    with make(ctrl=False) as rig:
        log = Log(rig.dir)
        rig.start_ctrl("--access-log", log.file)
        rig.wait_healthy()
        wait_until("the warning", lambda: "keeps no access log" in (rig.dir / "ctrl.log").read_text())
        rig.curl("/")
        expect_eq((log.lines(), records(rig)), ([], 0), "nothing")
