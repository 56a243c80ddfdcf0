# SPDX-License-Identifier: Apache-2.0
"""Looking into running workers: weirctl connections and weirctl capture, with real traffic."""
import json
import os
import signal
import struct
import subprocess
import time

from rig import NOBODY, PEER4, PEER6, WEB, WEIR4, WEIR6, expect, expect_eq, wait_until

FIN, SYN, RST, ACK = 1, 2, 4, 16


class Packet:
    """A TCP packet of a pcap file, IPv4 or IPv6, without VLAN; others have proto only."""

    def __init__(self, at, length, data):
        self.time, self.length, self.data, self.proto, self.payload = at, length, data, None, b""
        kind = struct.unpack("!H", data[12:14])[0]
        if kind == 0x0800:
            ihl, total = (data[14] & 15) * 4, struct.unpack("!H", data[16:18])[0]
            self.proto, self.src, self.dst, l4, end = data[23], data[26:30], data[30:34], 14 + ihl, 14 + total
        elif kind == 0x86dd:
            total = struct.unpack("!H", data[18:20])[0]
            self.proto, self.src, self.dst, l4, end = data[20], data[22:38], data[38:54], 54, 54 + total
        if self.proto == 6:
            self.sport, self.dport, self.seq = struct.unpack("!HHI", data[l4:l4 + 8])
            self.flags = data[l4 + 13]
            self.payload = data[l4 + (data[l4 + 12] >> 4) * 4:end]


def read_pcap(data, is_whole=True):
    """is_whole: False while it is written; what stands at its end may be a part of a record."""
    magic, major, minor, _, _, snaplen, link = struct.unpack("<IHHiIII", data[:24])
    expect_eq((magic, major, minor, link), (0xa1b2c3d4, 2, 4, 1), "head of the pcap file")
    at, packets = 24, []
    while at < len(data):
        if not is_whole and (at + 16 > len(data) or at + 16 + struct.unpack("<I", data[at + 8:at + 12])[0] > len(data)):
            break
        s, us, caplen, length = struct.unpack("<IIII", data[at:at + 16])
        expect(caplen <= min(length, snaplen) and us < 1000000 and at + 16 + caplen <= len(data), "a record is malformed")
        packets.append(Packet(s + us / 1e6, length, data[at + 16:at + 16 + caplen]))
        at += 16 + caplen
    return packets


class Capture:
    """weirctl capture in the background; finish() gives its packets, exit status and last words."""

    def __init__(self, rig, *args, admin=None):
        self.rig, self.file = rig, rig.dir / f"{time.monotonic_ns()}.pcap"
        before = rig.metric_sum("weir_captures_total")
        argv = [rig.build / "ctrl/weirctl", "capture", "-w", self.file, *rig.token(), *args]
        self.p = rig.spawn(argv, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
        wait_until("the capture is on", lambda: self.p.poll() is not None or rig.metric_sum("weir_captures_total") > before
                   and self.file.exists() and self.file.stat().st_size >= 24)

    def wait_ends(self, n):
        """Until it has the FINs of n TCP connections, of both sides."""
        def n_ends():
            packets = read_pcap(self.file.read_bytes(), is_whole=False)
            return len({(p.src, p.sport, p.dst, p.dport) for p in packets if p.proto == 6 and p.flags & FIN})
        wait_until(f"the ends of {n} connections", lambda: n_ends() == 2 * n)

    def finish(self, sig=signal.SIGINT):
        if sig and self.p.poll() is None:
            self.p.send_signal(sig)
        words = self.p.communicate(timeout=120)[1].decode()
        return read_pcap(self.file.read_bytes(), is_whole=self.p.returncode == 0), self.p.returncode, words


def slow_download(rig, addr=WEIR4, rate="100k"):
    """A request whose answer takes a while. The file is written once: nginx may be sending it already."""
    path = rig.dir / "www/slow.bin"
    if not path.exists():
        path.write_bytes(os.urandom(3 << 20))
    a = f"[{addr}]" if ":" in addr else addr
    return rig.spawn(["curl", "-sSg", "-m", "60", "--limit-rate", rate, "-o", "/dev/null", "-H", "Host: shop.example.com",
                      f"http://{a}/files/slow.bin"])


def test_connections_shows_what_is_there(make):
    with make(workers=2) as rig:
        downloads = [slow_download(rig), slow_download(rig, WEIR6)]

        def rows(*args):
            return rig.weirctl_json("connections", *args)["connections"]

        wait_until("both downloads have begun", lambda: len(rows("--port", "80", "--state", "established")) == 2)
        clients = rows("--port", "80")
        expect_eq(sorted(r["remote_address"] for r in clients), [PEER4, PEER6], "clients")
        for r in clients:
            expect(r["local_address"] in (WEIR4, WEIR6) and r["local_port"] == 80 and r["worker"] in (0, 1), r)
            expect(r["state"] == "established" and 0 < r["rtt_us"] < 5000000 and r["rto_us"] > 0, r)
            expect(r["cwnd"] >= r["mss"] > 1000 and r["retransmits"] < 100, r)
            expect({"ts", "sack", "wscale"} <= set(r["flags"]) and r["receive_window"] > 0, r)
        wait_until("what the slow reader did not take waits", lambda: all(r["unacked"] + r["unsent"] > 0 for r in rows("--port", "80")))
        servers = rows("--port", str(WEB))
        expect(len(servers) == 2 and all(r["remote_port"] == WEB for r in servers), servers)
        expect_eq([r["remote_address"] for r in rows("--peer", "fd99::/64", "--port", "80")], [PEER6], "by prefix")
        expect_eq(rows("--peer", "10.98.0.0/16"), [], "of another prefix")
        queues = [r["unacked"] + r["unsent"] + r["readable"] for r in rows("--sort", "queue")]
        expect(len(queues) >= 4, queues)
        listed = rig.weirctl_json("connections", "--sort", "rtt", "--limit", "1")
        expect(len(listed["connections"]) == 1 and listed["matched"] >= 4 and listed["total"] >= 4, listed)
        for worker in (0, 1):
            expect(all(r["worker"] == worker for r in rows("--worker", str(worker))), "by worker")
        text = rig.weirctl("connections", "--port", "80")
        expect("RTT/VAR/MIN" in text and f"{PEER4}:" in text and f"[{PEER6}]:" in text and "2 match" in text, text)
        for p in downloads:
            p.kill()
            p.wait()
        wait_until("the clients are gone", lambda: not rows("--port", "80", "--state", "established"))


def test_wrong_questions_are_answered_with_the_reason(make):
    with make() as rig:
        def fails(status, words, *args):
            p = rig.run([rig.build / "ctrl/weirctl", *args, *(rig.token() if args[0] == "capture" else ())], check=False, stdin=subprocess.DEVNULL)
            expect(p.returncode == status and words in p.stderr.decode(), (args, p.returncode, p.stderr))

        fails(1, "state=listening is not understood", "connections", "--state", "listening")
        fails(1, "protocol=smtp is not understood", "connections", "--protocol", "smtp")
        fails(1, "peer=10.0.0.0/33 is not understood", "connections", "--peer", "10.0.0.0/33")
        fails(1, "limit=0 is not understood", "connections", "--limit", "0")
        fails(1, "sort=colour is not understood", "connections", "--sort", "colour")
        fails(1, "refuses it: bad-value", "connections", "--worker", "1")
        fails(1, "refuses it: bad-value", "capture", "-w", "/dev/null", "--worker", "1")
        fails(2, "filter: ", "capture", "-w", "/dev/null", "tcp", "prot", "80")
        fails(1, "jump backward", "capture", "-w", "/dev/null", "ip6 protochain 6")
        fails(2, "connections takes no --count", "connections", "--count", "1")
        first = Capture(rig, "arp")
        fails(1, "another one is under way", "capture", "-w", "/dev/null")
        expect_eq(first.finish()[1], 0, "the first one goes on to its end")
        expect_eq(rig.curl("/")[0], 200, "and traffic")


def flow(packets, client, server):
    return [p for p in packets if p.sport == client and p.dport == server], [p for p in packets if p.sport == server and p.dport == client]


def expect_conversation(up, down, request):
    """Both directions of one connection, from SYN to FIN, every byte between them there."""
    for one in (up, down):
        syns = [p for p in one if p.flags & SYN]
        fins = [p for p in one if p.flags & FIN]
        expect(len(syns) == 1 and one[0] is syns[0] and fins, f"{len(syns)} SYN, {len(fins)} FIN")
        start = (syns[0].seq + 1) & 0xffffffff
        data = {}
        for p in one:
            for i, b in enumerate(p.payload):
                data[(p.seq + i - start) & 0xffffffff] = b
        expect_eq(sorted(data), list(range(len(data))), "bytes of the stream")
        expect_eq((fins[-1].seq + len(fins[-1].payload) - start) & 0xffffffff, len(data), "the FIN comes behind them")
        one.append(bytes(data[i] for i in range(len(data))))
    expect(request in up.pop() and b"HTTP/1.1 200" in down.pop(), "the request and its answer")


def test_capture_has_the_filtered_flow_and_nothing_else(make):
    with make(workers=2) as rig:
        before = time.time()
        capture = Capture(rig, "tcp", "port", "80", "and", "host", PEER4)
        expect_eq(rig.curl("/first")[0], 200, "a request")
        expect_eq(rig.curl("/other", addr=WEIR6)[0], 200, "one that is not wanted")
        expect_eq(rig.curl("/second")[0], 200, "another one")
        rig.run(["ping", "-c", "2", "-i", "0.2", WEIR4])
        capture.wait_ends(2)
        packets, status, words = capture.finish()
        expect(status == 0 and f"{len(packets)} packets, 0 dropped" in words, (status, words))
        expect(all(p.proto == 6 and 80 in (p.sport, p.dport) and len(p.src) == 4 for p in packets), "only what the filter takes")
        expect(all(before - 1 < p.time < time.time() + 1 for p in packets), "times of the wall clock")
        expect(all(p.length == len(p.data) for p in packets), "whole packets")
        clients = list(dict.fromkeys(p.sport for p in packets if p.dport == 80))
        expect_eq(len(clients), 2, "connections")
        for client, request in zip(clients, (b"GET /first", b"GET /second")):
            expect_conversation(*flow(packets, client, 80), request)
        listed = rig.run(["tcpdump", "-nr", capture.file]).stdout.decode().splitlines()
        expect_eq(len(listed), len(packets), "packets that tcpdump reads")
        expect_eq(rig.metric_sum("weir_captured_packets_total"), len(packets), "packets counted")


def test_capture_ends_by_itself(make):
    with make() as rig:
        capture = Capture(rig, "--count", "6", "--bytes", "60", "tcp port 80")
        for i in range(3):
            expect_eq(rig.curl(f"/{i}")[0], 200, "a request")
        packets, status, words = capture.finish(sig=None)
        expect(status == 0 and len(packets) == 6, (status, words, len(packets)))
        expect(all(len(p.data) == min(60, p.length) for p in packets) and any(p.length > 60 for p in packets), "60 bytes of each")
        pings = rig.spawn(["ping", "-q", "-i", "0.02", WEIR4], stdout=subprocess.DEVNULL)  # its second is over before a request is made
        try:
            packets, status, words = Capture(rig, "--duration", "1").finish(sig=None)
        finally:
            pings.kill()
            pings.wait()
        expect(status == 0 and len(packets) > 10, (status, words))
        p = rig.run(["sh", "-c", f"{rig.build}/ctrl/weirctl capture --token {rig.dir}/capture.token --duration 1 udp port 9 | tcpdump -nr -; true"])
        expect(b"0 packets, 0 dropped" in p.stderr and b"unknown file format" not in p.stderr, p.stderr)


def test_capture_of_a_client_that_vanishes_ends(make):
    with make() as rig:
        for sig in (signal.SIGKILL, signal.SIGTERM):
            capture = Capture(rig, "host", "192.0.2.1")  # nothing to write, so nothing fails
            capture.p.send_signal(sig)
            capture.p.communicate(timeout=120)
            wait_until("another capture is taken", lambda: rig.run([rig.build / "ctrl/weirctl", "capture", *rig.token(), "-w",
                                                                     "/dev/null", "--duration", "1"], check=False).returncode == 0)


def test_traffic_goes_on_when_ctrl_dies_within_a_capture(make):
    with make(workers=2) as rig:
        for _ in range(2):
            capture = Capture(rig, "tcp")
            expect_eq(rig.curl("/a")[0], 200, "while it is on")
            wait_until("packets have come", lambda: capture.file.stat().st_size > 100)
            rig.stop("ctrl", signal.SIGKILL)
            for i in range(20):
                expect_eq(rig.curl(f"/{i}")[0], 200, "without weir-ctrl")
            packets, status, words = capture.finish(sig=None)
            expect(status == 1 and packets, (status, words))
            rig.start_ctrl()
            rig.wait_healthy()
            captured = rig.metric_sum("weir_captured_packets_total")
            expect_eq(rig.curl("/b")[0], 200, "with the new weir-ctrl")
            expect_eq(rig.metric_sum("weir_captured_packets_total"), captured, "nothing is captured any more")
            capture = Capture(rig, "tcp port 80")
            expect_eq(rig.curl("/c")[0], 200, "while the new one's is on")
            capture.wait_ends(1)
            packets, status, words = capture.finish()
            expect(status == 0 and any(b"GET /c" in p.payload for p in packets), (status, words))
            expect(rig.weirctl_json("connections")["total"] > 0, "connections")


def test_ctrl_stops_in_order_within_a_capture(make):
    with make() as rig:
        for filter_ in ("udp port 9", "tcp"):  # waiting, and with packets on their way
            capture = Capture(rig, filter_)
            expect_eq(rig.curl("/")[0], 200, "while it is on")
            expect_eq(rig.stop("ctrl"), 0, "exit status of weir-ctrl")
            expect_eq(capture.finish(sig=None)[1], 1, "a capture that was cut says so")
            rig.start_ctrl()
            rig.wait_healthy()


def test_packets_are_given_to_this_machine_only(make):
    with make(ctrl=False) as rig:
        def ask(*args):
            return rig.run([rig.build / "ctrl/weirctl", "--admin", f"{PEER4}:9901", *args], check=False)

        for extra, status in (((), 1), (("--remote-capture",), 0)):
            rig.start_ctrl("--admin", f"{PEER4}:9901", *extra)
            wait_until("an answer", lambda: ask("connections").returncode == 0)
            p = ask("capture", "-w", "/dev/null", "--duration", "1", *rig.token())
            expect_eq(p.returncode, status, p.stderr)
            expect((b"this machine only" in p.stderr) == (status == 1), p.stderr)
            (rig.dir / "wrong.token").write_text("0" * 64 + "\n")
            p = ask("capture", "-w", "/dev/null", "--duration", "1", "--token", rig.dir / "wrong.token")
            expect(p.returncode == 1 and (b"not the capture token" in p.stderr) == (status == 0), p.stderr)
            rig.stop("ctrl")


CAPTURE = "http://127.0.0.1:9901/api/v1/capture?duration=1"
AS_NOBODY = ("setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups")


def ask_for_packets(rig, *fields, url=CAPTURE):
    """(status, head, body) of the API's answer to a request with these header fields."""
    p = rig.run(["curl", "-s", "-i", "-m", "60", *(a for f in fields for a in ("-H", f)), url])
    head, _, body = p.stdout.partition(b"\r\n\r\n")
    return int(head.split()[1]), head.decode(), body


def refused(rig, reason):
    return rig.metric_sum("weir_ctrl_captures_refused_total", f'reason="{reason}"')


def test_only_who_has_the_token_gets_packets(make):
    with make() as rig:
        file = rig.dir / "capture.token"
        secret = file.read_text().strip()
        expect(len(secret) == 64 and file.stat().st_mode & 0o777 == 0o600 and file.stat().st_uid == 0, file.stat())
        for n, fields in enumerate(((), ("Authorization: Basic cm9vdDpyb290",), (f"Authorization: {secret}",), (f"X-Token: {secret}",)), 1):
            status, head, body = ask_for_packets(rig, *fields)
            expect(status == 401 and "WWW-Authenticate: Bearer" in head, (fields, head))
            expect(f"weir-ctrl wrote to {file}" in json.loads(body)["error"] and secret.encode() not in body, body)
            expect_eq(refused(rig, "token-missing"), n, "refusals counted")
        wrong = secret[:-1] + ("0" if secret[-1] != "0" else "1")
        for n, text in enumerate((wrong, secret[:-1], secret + "0", secret.upper() if secret.upper() != secret else "x", ""), 1):
            status, head, body = ask_for_packets(rig, f"Authorization: Bearer {text}")
            expect(status == 401 and b"not the capture token" in body, (text, head, body))
            expect_eq(refused(rig, "token-wrong"), n, "refusals counted")
        expect_eq(ask_for_packets(rig, url=CAPTURE.replace("?duration=1", "?nonsense=1"))[0], 401, "before anything else is looked at")
        status, head, body = ask_for_packets(rig, f"Authorization: bearer {secret}")
        expect(status == 200 and body[:4] == b"\xd4\xc3\xb2\xa1", head)
        # What tells addresses only stays open.
        for page in ("status", "connections"):
            expect_eq(ask_for_packets(rig, url=f"http://127.0.0.1:9901/api/v1/{page}")[0], 200, page)
        told = [line for line in (rig.dir / "ctrl.log").read_text().splitlines() if "a capture is refused: " in line]
        expect(told and "token-missing (1 so far)" in told[0] and len(told) < 10, told)
        rig.stop("ctrl")
        rig.start_ctrl()
        rig.wait_healthy()
        expect_eq(ask_for_packets(rig, f"Authorization: Bearer {secret}")[0], 401, "the token of the weir-ctrl before")
        expect(file.read_text().strip() != secret, "a new token at each start")


def test_other_users_are_told_why_they_get_no_packets(make):
    with make() as rig:
        def capture(*args, prefix=()):
            file = rig.dir / "out.pcap"
            p = rig.run([*prefix, rig.build / "ctrl/weirctl", "capture", "-w", file, "--duration", "1", *args], check=False)
            expect_eq(file.exists(), p.returncode == 0, "a file of packets")
            return p.returncode, p.stderr.decode()

        status, words = capture(*rig.token(), prefix=AS_NOBODY)
        expect(status == 1 and f"{rig.dir}/capture.token: Permission denied" in words and "run this as root\n" in words, words)
        os.chown(rig.dir / "capture.token", 1, 1)
        expect("run this as root, or as daemon\n" in capture(*rig.token(), prefix=AS_NOBODY)[1], "whose the file is")
        status, words = capture("--token", rig.dir / "missing")
        expect(status == 1 and "missing: No such file" in words and "weir-ctrl writes it when it starts" in words, words)
        status, words = capture("--token", rig.dir / "weir.yaml")
        expect(status == 1 and "weir.yaml is no capture token" in words, words)
        # weir-ctrl runs as nobody: that user's other processes do not find the token in it.
        pid = rig.procs["ctrl"].pid
        p = rig.run([*AS_NOBODY, "dd", f"if=/proc/{pid}/mem", "of=/dev/null", "count=1"], check=False)
        expect(p.returncode != 0 and b"Permission denied" in p.stderr, p.stderr)
        p = rig.run([*AS_NOBODY, "sh", "-c", f"cat /proc/{pid}/fd/*"], check=False)
        expect(p.returncode != 0 and p.stdout == b"", p.stderr)
        expect_eq(refused(rig, "token-wrong") + refused(rig, "token-missing"), 0, "requests that were sent without the token")
        expect_eq(capture(*rig.token())[0], 0, "who may")


def test_all_else_works_when_the_token_cannot_be_written(make):
    with make(ctrl=False) as rig:
        for place, why in ((rig.dir / "nowhere/t", "No such file or directory"), (rig.dir / "weir.yaml", "File exists")):
            before = (rig.dir / "weir.yaml").read_text()
            rig.start_ctrl("--capture-token", place)
            rig.wait_healthy()
            log = (rig.dir / "ctrl.log").read_text()
            expect(f"captures are refused: cannot write the capture token to {place}: {why}" in log, log)
            status, _, body = ask_for_packets(rig, "Authorization: Bearer " + "0" * 64)
            expect(status == 403 and f"{place}: {why}" in json.loads(body)["error"], body)
            expect_eq(refused(rig, "no-token"), 1, "refusals counted")
            expect_eq(rig.curl("/")[0], 200, "traffic")
            expect_eq(rig.weirctl_json("connections")["total"] > 0, True, "connections")
            expect_eq(rig.stop("ctrl"), 0, "exit status of weir-ctrl")
            expect_eq((rig.dir / "weir.yaml").read_text(), before, "somebody else's file")
        own = rig.dir / "own"  # a folder in which weir-ctrl's user may remove the file
        own.mkdir()
        os.chown(own, NOBODY, NOBODY)
        rig.start_ctrl("--capture-token", own / "t")
        rig.wait_healthy()
        expect((own / "t").stat().st_uid == 0, "who started weir-ctrl")
        rig.run([rig.build / "ctrl/weirctl", "capture", "--token", own / "t", "-w", "/dev/null", "--duration", "1"])
        rig.stop("ctrl")
        expect(not (own / "t").exists(), "the token is removed at the end")


def test_load_is_served_while_everything_is_captured(make):
    with make(workers=2) as rig:
        capture = Capture(rig, "--bytes", "1500")
        p = rig.run(["h2load", "--h1", "-n", "3000", "-c", "16", f"--connect-to={WEIR4}:80", "http://shop.example.com/load"])
        expect(b"3000 succeeded, 0 failed" in p.stdout, p.stdout)
        packets, status, words = capture.finish()
        dropped = int(words.split(" packets, ")[1].split()[0])
        expect(status == 0 and len(packets) > 1000 and len(packets) + dropped > 6000, (status, words))
        counted = rig.metrics()
        expect_eq(sum(v for k, v in counted.items() if k.startswith("weir_captured_packets_total")), len(packets), "captured")
        expect_eq(sum(v for k, v in counted.items() if k.startswith("weir_capture_drops_total")), dropped, "dropped")
        status = json.loads(rig.weirctl("stats", "-o", "json"))
        expect(status["captured_packets"]["sum"] > 1000, "counters")


def test_stage_timers_tell_where_the_time_goes(make):
    with make() as rig:
        expect("no stage timers" in rig.weirctl("stages"), "off by default, and weirctl says so")
    with make(yaml_workers=", stage_timers: true") as rig:
        for _ in range(20):
            expect_eq(rig.curl("/")[0], 200, "a request")
        stages = {s["stage"]: s for s in rig.weirctl_json("stages")}
        for name in ("rx", "tcp_in", "timers", "parse", "route", "upstream", "proxy", "tcp_out", "tx", "other", "idle"):
            expect(stages[name]["cycles"] > 0, f"cycles of {name}")
            expect(rig.metric_sum(f"weir_stage_{name}_cycles_total") >= stages[name]["cycles"], f"metric of {name}")
        expect(stages["parse"]["entries"] >= 40, "a request's head and a response's for each")
        expect_eq(stages["route"]["entries"], 20, "a look-up for each")
        stats = rig.weirctl_json("stats")
        busy = sum(s["cycles"] for s in rig.weirctl_json("stages") if s["stage"] != "idle")
        expect(stats["worker_busy_cycles"]["sum"] * 0.5 < busy < rig.metric_sum("weir_worker_busy_cycles_total") * 1.5,
               "the stages add up to the time of iterations with work")
        expect("A REQUEST" in rig.weirctl("stages"), "a table")
