# SPDX-License-Identifier: Apache-2.0
"""Starts all of Weir with real peers, each time in network namespaces of its own.

A Rig is a folder, one or two namespaces, weir-dataplane, weir-ctrl and nginx.
port='tap': the kernel's side of a TAP device is the peer, in one namespace.
port='af_packet', 'af_xdp': a veth pair between two namespaces, the dataplane on one end.
Leaving the with-block ends every process and looks at how it ended.
"""
import atexit
import itertools
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import textwrap
import time

from procs import NoAnswer, end_process, sanitizer_env, sanitizer_reports, show_logs

PEER4, WEIR4 = "10.99.0.1", "10.99.0.2"
PEER6, WEIR6 = "fd99::1", "fd99::2"
WEB, API = 8081, 8082  # ports of nginx
NOBODY = 65534
WRK = ("wrk", "--timeout", "30s")  # an answer that takes two seconds is an error otherwise, and this is no test of speed
counter = itertools.count()
crashes = set()  # programs that ended by themselves, or not well, and what the sanitizers found, of all rigs so far
first_core = 0  # of the first worker of a rig


def _keep_times_to_wake():
    """A dataplane that was killed leaves the bound of its cores (dataplane/cpu_latency.h): not so a run of tests."""
    before = {p: p.read_text() for p in pathlib.Path("/sys/devices/system/cpu").glob("cpu*/power/pm_qos_resume_latency_us")}
    atexit.register(lambda: [p.write_text(text) for p, text in before.items() if p.read_text() != text])


_keep_times_to_wake()


def begin_lane(number):
    """Called in a process that runs tests beside others: the first worker of its rigs is not on the core of theirs."""
    global first_core
    first_core = number


def alone(fn):
    """A test that needs a core of its own, or what there is one of in this machine: it runs beside no other (run.py)."""
    fn.alone = True
    return fn


def takes(seconds):
    """A test that takes about as long, where it has a core for itself: the longest begin first (run.py)."""
    def mark(fn):
        fn.seconds = seconds
        return fn
    return mark


class Failure(Exception):
    """A test's expectation was not met."""


class Skipped(Exception):
    """What a test needs is not on this machine; it is counted as skipped."""


def expect(condition, text):
    if not condition:
        raise Failure(text)


def expect_eq(got, wanted, what):
    expect(got == wanted, f"{what}: got {got!r}, wanted {wanted!r}")


def ip(*args):
    subprocess.run(["ip", *args], check=True, capture_output=True, timeout=30)


def wait_until(what, fn, seconds=60.0):  # no test's bound: a slow machine's patience
    """The first true value of fn(). What it asks may not be there yet: a file, a socket that nobody listens on. Who waits for
    long asks less often: to ask starts programs, for which other tests want the cores."""
    began = time.monotonic()
    end = began + seconds
    while True:
        absent = ""
        try:
            value = fn()
        except (OSError, NoAnswer) as e:
            value, absent = None, f" ({e!r})"
        if value:
            return value
        now = time.monotonic()
        expect(now < end, f"not within {seconds} s: {what}{absent}")
        time.sleep(min(0.02 + (now - began) / 20, 0.1))


def resident_kb(pid):
    """Memory of a process, as far as it is in RAM."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise Failure("no VmRSS")


class Rig:
    """See the module's text. Keyword arguments of the constructor:

    workers    number of worker threads (they share the machine's cores)
    port       'tap', 'af_packet' or 'af_xdp' (one worker)
    manifests  {file name: text}; MANIFESTS if not given
    extra      lines added to weir.yaml
    arena_mb   size of the area for routes
    timeouts   keys of weir.yaml's timeouts; a connection to an endpoint, which by default has two seconds, has a minute unless they say so
    yaml_port  more keys of the port in weir.yaml, as text of a mapping's lines without indentation
    yaml_workers, yaml_memory, yaml_pools   added to these sections of weir.yaml, such as ', key: value'
    idle       workers.idle of weir.yaml
    ctrl_args  options of the weir-ctrl that is started with the rig
    nginx      more text for the http block of nginx
    """

    def __init__(self, build, workers=1, port="tap", manifests=None, extra="", nginx="", ctrl=True, sanitizers=False, arena_mb=16,
                 timeouts="drain_ms: 3000", yaml_workers="", yaml_memory="", yaml_pools="", yaml_port="", ctrl_args=(), idle="sleep"):
        self.build = pathlib.Path(build).resolve()
        self.workers, self.port, self.extra, self.nginx_extra = workers, port, extra, nginx
        self.manifest_texts = MANIFESTS if manifests is None else manifests
        self.with_ctrl = ctrl
        self.sanitizers = sanitizers
        self.arena_mb, self.timeouts = arena_mb, timeouts
        self.yaml_port = yaml_port
        self.yaml_workers, self.yaml_memory, self.yaml_pools, self.ctrl_args = yaml_workers, yaml_memory, yaml_pools, ctrl_args
        self.idle = idle
        self.name = f"weir-t{os.getpid()}-{next(counter)}"
        self.ns = self.name  # of the peers
        self.ns_weir = self.name if port == "tap" else self.name + "w"
        self.ctrl_source = None  # options of weir-ctrl in place of --manifests
        self.procs = {}
        self.dir = None
        self.old_ctrls = 0

    # -- start and stop

    def __enter__(self):
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix=self.name + "-"))
        self.dir.chmod(0o755)
        try:
            self._make_network()
            self._write_files()
            self.start_dataplane()
            self._start_nginx()
            if self.with_ctrl:
                self.start_ctrl(*self.ctrl_args)
                self.wait_healthy()
        except BaseException:
            self._show_logs()
            self._clean()
            raise
        return self

    def __exit__(self, kind, value, tb):
        problems = []
        try:
            if kind is None:
                for name in [n for n in ("ctrl", "dataplane") if n in self.procs]:
                    rc = self.stop(name)
                    if rc != 0:
                        problems.append(f"{name} ended with {rc}")
            else:
                self._show_logs()
                crashes.update(f"{self.name} {name}" for name, p in self.procs.items() if p.poll() not in (None, 0))
            problems += sanitizer_reports(self.dir)
            crashes.update(problems)
        finally:  # SIGTERM may come here, too
            self._clean()
        if problems and kind is None:
            raise Failure("; ".join(problems))

    def _make_network(self):
        for ns in {self.ns, self.ns_weir}:
            ip("netns", "add", ns)
            ip("-n", ns, "link", "set", "lo", "up")
        if self.port != "tap":
            ip("link", "add", "weir0", "netns", self.ns, "type", "veth", "peer", "name", "port0", "netns", self.ns_weir)
            for ns, dev in ((self.ns, "weir0"), (self.ns_weir, "port0")):
                subprocess.run(["ip", "netns", "exec", ns, "ethtool", "-K", dev, "tx", "off", "tso", "off", "gso", "off",
                                "gro", "off"], check=True, capture_output=True, timeout=30)
                if dev == "port0":  # Weir's, and no interface of IPv6: the kernel's beside it has the same link address
                    ip("-n", ns, "link", "set", dev, "addrgenmode", "none")
                ip("-n", ns, "link", "set", dev, "up")
            # AF_PACKET gets copies: what the kernel there is to have it gets from Weir alone. A bridge that is down drops all of a port's.
            ip("-n", self.ns_weir, "link", "add", "nowhere", "type", "bridge")
            ip("-n", self.ns_weir, "link", "set", "port0", "master", "nowhere")

    def vdev(self):
        if self.port == "tap":
            return "net_tap0,iface=weir0"
        if self.port == "af_xdp":
            return "net_af_xdp0,iface=port0"
        return f"net_af_packet0,iface=port0,qpairs={self.workers}"

    def _write_files(self):
        cores = os.cpu_count()
        (self.dir / "weir.yaml").write_text(f"""ports:
  - vdev: {self.vdev()}
    promiscuous: true
    addresses: [{WEIR4}/24, "{WEIR6}/64"]
    gateways: [{PEER4}, "{PEER6}"]
{textwrap.indent(self.yaml_port, '    ')}
workers: {{cores: [{', '.join(str((first_core + i) % cores) for i in range(self.workers))}], idle: {self.idle}{self.yaml_workers}}}
memory: {{hugepages: false, arena_mb: {self.arena_mb}{self.yaml_memory}}}
pools: {{mbufs: 16384, connections: 8192, requests: 1024, backends: 2048, endpoints: 8192{self.yaml_pools}}}
control: {{socket: {self.dir}/dataplane.sock, user: {NOBODY}}}
timeouts: {{{self.timeouts}{'' if 'connect_ms' in self.timeouts else ', connect_ms: 60000'}}}
{self.extra}
""")
        (self.dir / "manifests").mkdir()
        for name, text in self.manifest_texts.items():
            (self.dir / "manifests" / name).write_text(text)
        (self.dir / "www").mkdir()
        (self.dir / "www" / "up").mkdir()
        for d in ("www", "www/up"):
            (self.dir / d).chmod(0o777)
        (self.dir / "nginx.conf").write_text(f"""daemon off; worker_processes 1; pid {self.dir}/nginx.pid; user root;
error_log {self.dir}/nginx-error.txt;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 1000000; keepalive_timeout 600s; client_max_body_size 0;
  client_body_temp_path {self.dir}/nb; proxy_temp_path {self.dir}/np; fastcgi_temp_path {self.dir}/nf;
  uwsgi_temp_path {self.dir}/nu; scgi_temp_path {self.dir}/ns;
  map $http_x_forwarded_for $dummy {{ default ""; }}
  server {{ listen {PEER4}:{WEB}; listen [{PEER6}]:{WEB}; root {self.dir}/www;
    location / {{ return 200 "web $request_method $host$request_uri\\n"; }}
    location /echo {{ add_header X-Seen "$http_x_forwarded_for|$http_x_forwarded_proto|$http_x_forwarded_host|$http_x_request_id|$http_connection";
                      return 200 "echo\\n"; }}
    location /files/ {{ alias {self.dir}/www/; }}
    location /up/ {{ dav_methods PUT; }}
    location /gone {{ return 444; }}
  }}
  server {{ listen {PEER4}:{API}; listen [{PEER6}]:{API};
    location / {{ return 200 "api $request_method $host$request_uri\\n"; }} }}
  {self.nginx_extra}
}}
""")

    def _spawn(self, name, argv, ns):
        with open(self.dir / f"{name}.log", "ab") as log:
            self.procs[name] = subprocess.Popen(["ip", "netns", "exec", ns, *map(str, argv)], stdout=log, stderr=log,
                                                stdin=subprocess.DEVNULL, env=sanitizer_env())
        return self.procs[name]

    def start_dataplane(self):
        p = self._spawn("dataplane", [self.build / "dataplane/weir-dataplane", "-c", self.dir / "weir.yaml"], self.ns_weir)
        wait_until("control socket", lambda: p.poll() is not None or (self.dir / "dataplane.sock").exists(), 120)
        expect(p.poll() is None, f"dataplane ended with {p.poll()}")
        if self.port == "tap":
            wait_until("TAP device", lambda: p.poll() is not None or subprocess.run(
                ["ip", "-n", self.ns, "link", "show", "weir0"], capture_output=True, timeout=10).returncode == 0)
        try:
            ip("-n", self.ns, "addr", "replace", PEER4 + "/24", "dev", "weir0")
            ip("-n", self.ns, "-6", "addr", "replace", PEER6 + "/64", "dev", "weir0", "nodad")
            ip("-n", self.ns, "link", "set", "weir0", "up")
        except subprocess.CalledProcessError as e:  # with the device, who made it has gone
            raise Failure(f"dataplane ended with {p.wait(60)}") from e

    def _start_nginx(self):
        self._spawn("nginx", ["nginx", "-c", self.dir / "nginx.conf", "-e", self.dir / "nginx-error.txt"], self.ns)
        wait_until("nginx", lambda: self.run(["curl", "-s", "-m", "20", f"http://{PEER4}:{WEB}/"], check=False).returncode == 0)

    def start_ctrl(self, *args):
        source = self.ctrl_source or ["--manifests", self.dir / "manifests"]
        self._spawn("ctrl", [self.build / "ctrl/weir-ctrl", *source, "--socket", self.dir / "dataplane.sock",
                             "--admin", "127.0.0.1:9901", "--user", "nobody", *args], self.ns)

    def is_healthy(self):
        return self.run(["curl", "-sf", "-m", "20", "http://127.0.0.1:9901/healthz"], check=False).returncode == 0

    def wait_healthy(self, seconds=60.0):
        wait_until("weir-ctrl is healthy", lambda: self.procs["ctrl"].poll() is not None or self.is_healthy(), seconds)
        expect(self.procs["ctrl"].poll() is None, f"weir-ctrl ended with {self.procs['ctrl'].poll()}")

    def stop(self, name, sig=signal.SIGTERM, seconds=60):
        """Sends a signal to a program of ours and returns its exit status."""
        try:
            return end_process(self.procs[name], seconds, sig)
        finally:
            if self.procs[name].poll() is not None:  # else _clean() ends it
                del self.procs[name]

    def _show_logs(self):
        show_logs(self.dir, ("*.log", "nginx-error.txt"))

    def _clean(self):
        for name in list(self.procs):
            self.stop(name, signal.SIGTERM if name != "nginx" else signal.SIGQUIT, 10)
        for ns in {self.ns, self.ns_weir}:
            subprocess.run(["ip", "netns", "del", ns], capture_output=True, timeout=30)
        shutil.rmtree(self.dir, ignore_errors=True)

    # -- doing things

    def run(self, argv, check=True, timeout=120, failure=Failure, **kw):
        """Runs a command in the peers' namespace. failure: what is raised if it ends with another status than 0."""
        p = subprocess.run(["ip", "netns", "exec", self.ns, *map(str, argv)], capture_output=True, timeout=timeout, **kw)
        if check and p.returncode != 0:
            raise failure(f"{' '.join(map(str, argv))} ended with {p.returncode}: {p.stderr.decode(errors='replace')[-2000:]}"
                          f"{p.stdout.decode(errors='replace')[-500:]}")
        return p

    def ask(self, path):
        """What weir-ctrl answers, as bytes."""
        return self.run(["curl", "-sf", "-m", "30", f"http://127.0.0.1:9901{path}"], failure=NoAnswer).stdout

    def spawn(self, argv, **kw):
        return subprocess.Popen(["ip", "netns", "exec", self.ns, *map(str, argv)], **kw)

    def curl(self, path, host="shop.example.com", addr=WEIR4, port=80, args=(), check=True, timeout=120):
        """(status, headers in lower case, body)"""
        a = f"[{addr}]" if ":" in addr else addr
        p = self.run(["curl", "-sS", "-g", "--path-as-is", "-i", "-m", "60", "-H", f"Host: {host}", *args,
                      f"http://{a}:{port}{path}"], check=check, timeout=timeout)
        head, _, body = p.stdout.partition(b"\r\n\r\n")
        while head.startswith(b"HTTP/1.1 1"):
            head, _, body = body.partition(b"\r\n\r\n")
        lines = head.decode("latin1").split("\r\n")
        headers = dict((k.strip().lower(), v.strip()) for k, _, v in (line.partition(":") for line in lines[1:]))
        status = int(lines[0].split()[1]) if lines[0].startswith("HTTP/") else 0
        return status, headers, body.decode("latin1")

    def weirctl(self, *args, check=True):
        return self.run([self.build / "ctrl/weirctl", *args], check=check, failure=NoAnswer).stdout.decode()

    def token(self):
        """Arguments with which weirctl may capture: what start_ctrl()'s weir-ctrl wrote."""
        return ["--token", self.dir / "capture.token"]

    def weirctl_json(self, *args):
        return json.loads(self.weirctl(*args, "-o", "json"))

    def metrics(self):
        """{name{labels}: value} of /metrics."""
        out = {}
        for line in self.ask("/metrics").decode().splitlines():
            if line and not line.startswith("#"):
                key, _, value = line.rpartition(" ")
                out[key] = float(value)
        return out

    def metric_sum(self, name, *parts):
        return sum(v for k, v in self.metrics().items() if k.split("{")[0] == name and all(p in k for p in parts))

    def live_generation(self):
        """Of the dataplane's statistics: the snapshot that every worker serves."""
        return json.loads(self.ask("/api/v1/status"))["live_generation"]

    def write_manifest(self, name, text):
        """As an editor or kubectl would: whole, under another name, then renamed."""
        tmp = self.dir / "manifests" / f".{name}.tmp"
        tmp.write_text(text)
        tmp.rename(self.dir / "manifests" / name)

    def rss_kb(self, name="dataplane"):
        return resident_kb(self.procs[name].pid)  # of 'ip netns exec', which execs: same pid


def service(name, ns="demo", port=80):
    return f"""apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: {ns}}}
spec:
  ports: [{{name: http, port: {port}}}]
---
"""


def slice_(name, addr, port, ns="demo", ready=True):
    """An EndpointSlice of one endpoint (or none: addr None)."""
    family = "IPv6" if addr and ":" in addr else "IPv4"
    endpoints = f'[{{addresses: ["{addr}"], conditions: {{ready: {str(ready).lower()}}}}}]' if addr else "[]"
    return f"""apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: {name}-1, namespace: {ns}, labels: {{kubernetes.io/service-name: {name}}}}}
addressType: {family}
ports: [{{name: http, port: {port}}}]
endpoints: {endpoints}
---
"""


def gateway(listeners="{name: http, port: 80, protocol: HTTP}"):
    """A GatewayClass of Weir's and the Gateway demo/edge."""
    return f"""apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {{name: weir}}
spec: {{controllerName: weir.dev/ingress-controller}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: edge, namespace: demo}}
spec:
  gatewayClassName: weir
  listeners: [{listeners}]
---
"""


def ingress(name, host, paths, ns="demo"):
    """paths: [(path, type, service)]"""
    items = "\n".join(f"          - {{path: {p}, pathType: {t}, backend: {{service: {{name: {s}, port: {{number: 80}}}}}}}}"
                      for p, t, s in paths)
    return f"""apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: {name}, namespace: {ns}}}
spec:
  rules:
    - host: {host}
      http:
        paths:
{items}
---
"""


MANIFESTS = {
    "services.yaml": service("web") + slice_("web", PEER4, WEB) + service("api") + slice_("api", PEER6, API) +
                     service("empty") + slice_("empty", None, 1) + service("dead") + slice_("dead", PEER4, 9),
    "shop.yaml": ingress("shop", "shop.example.com",
                         [("/", "Prefix", "web"), ("/api", "Prefix", "api"), ("/empty", "Prefix", "empty"),
                          ("/dead", "Prefix", "dead"), ("/exact", "Exact", "api")]) +
                 ingress("wild", '"*.wild.example.com"', [("/", "Prefix", "api")]),
}
