# SPDX-License-Identifier: Apache-2.0
"""The five proxies of compare.py: configured, started, and started again when they abort.

Each passes on as much as it can of what it got: no normalised targets, the
client's Host, no buffering. Each listens on one port for each lane, and passes what
comes there to that lane's backend.
"""
import pathlib
import re
import shutil
import subprocess
import threading
import time

from procs import debian_has_h2o

N_LANES = 16


def lanes_text(lanes, text):
    return "".join(text.format(i=i, front=front, back=back) for i, (front, back) in enumerate(lanes))


class Proxy:
    """lanes: [(front port, backend port)]; address: where all of them listen."""

    program = name = version_args = None

    def __init__(self, folder, address, lanes):
        self.folder, self.address, self.lanes = folder / self.name, address, lanes
        self.folder.mkdir()
        self.folder.chmod(0o777)

    def write(self, name, text):
        path = self.folder / name
        path.write_text(text.replace("ADDRESS", self.address).replace("FOLDER", str(self.folder)))
        return path

    def commands(self):
        """A list of command lines: the processes to keep running."""
        raise NotImplementedError

    @classmethod
    def version(cls):
        p = subprocess.run([cls.program, *cls.version_args], capture_output=True, timeout=20)
        return re.search(r"\d+(\.\d+)+", (p.stdout + p.stderr).decode(errors="replace"))[0]


class Nginx(Proxy):
    name, program, version_args = "nginx", "nginx", ["-v"]

    def commands(self):
        servers = lanes_text(self.lanes, "server {{ listen ADDRESS:{front} default_server; location / {{ "
                                         "proxy_pass http://ADDRESS:{back}; }} }}\n")
        conf = self.write("nginx.conf", """daemon off; worker_processes 1; pid FOLDER/pid; user root; error_log FOLDER/error.log;
events { worker_connections 1024; }
http {
  access_log off; client_max_body_size 0; proxy_http_version 1.1; proxy_set_header Host $http_host;
  proxy_request_buffering off; proxy_buffering off; proxy_next_upstream off; server_tokens off;
  client_body_temp_path FOLDER/b; proxy_temp_path FOLDER/p; fastcgi_temp_path FOLDER/f; uwsgi_temp_path FOLDER/u; scgi_temp_path FOLDER/s;
""" + servers + "}\n")
        return [["nginx", "-c", conf, "-e", self.folder / "error.log"]]


class Haproxy(Proxy):
    name, program, version_args = "haproxy", "haproxy", ["-v"]

    def commands(self):
        conf = self.write("haproxy.cfg", """global
  maxconn 1000
defaults
  mode http
  timeout connect 10s
  timeout client 60s
  timeout server 60s
  retries 0
  http-reuse never
""" + lanes_text(self.lanes, """
frontend f{i}
  bind ADDRESS:{front}
  default_backend b{i}
backend b{i}
  server s ADDRESS:{back}
"""))
        return [["haproxy", "-db", "-f", conf]]


class H2o(Proxy):
    """A process for each lane: what makes one abort leaves the others alone."""

    name, program, version_args = "h2o", "h2o", ["--version"]

    def commands(self):
        out = []
        for i, (front, back) in enumerate(self.lanes):
            conf = self.write(f"h2o-{i}.conf", f"""num-threads: 1
user: root
listen: {{host: ADDRESS, port: {front}}}
hosts:
  "*":
    paths:
      "/":
        proxy.reverse.url: "http://ADDRESS:{back}/"
        proxy.preserve-host: ON
        proxy.timeout.keepalive: 0
""")
            out.append(["h2o", "-m", "worker", "-c", conf])
        return out


class Varnish(Proxy):
    """As it comes, but that nothing is cached: the checks of its built-in configuration stay."""

    name, program, version_args = "varnish", "varnishd", ["-V"]

    def commands(self):
        vcl = self.write("default.vcl", "vcl 4.1;\nimport std;\n" + lanes_text(self.lanes, """
backend b{i} {{ .host = "ADDRESS"; .port = "{back}"; }}""") + "\nsub vcl_recv {\n" + lanes_text(self.lanes, """
  if (std.port(local.ip) == {front}) {{ set req.backend_hint = b{i}; }}""") + """
  call vcl_req_host;
  call vcl_req_method;
  return (pass);
}
sub vcl_backend_fetch { return (fetch); }
""")
        listen = [x for front, _ in self.lanes for x in ("-a", f"{self.address}:{front}")]
        return [["varnishd", "-F", "-n", self.folder / "work", *listen, "-f", vcl, "-s", "default,8m", "-p", "thread_pool_min=50",
                 "-p", "thread_pools=1", "-p", "max_retries=0"]]


class Apache(Proxy):
    name, program, version_args = "apache", "apache2", ["-v"]
    MODULES = ("mpm_event", "authz_core", "proxy", "proxy_http")

    def commands(self):
        modules = "".join(f"LoadModule {m}_module /usr/lib/apache2/modules/mod_{m}.so\n" for m in self.MODULES)
        conf = self.write("apache.conf", f"""{modules}ServerRoot FOLDER
PidFile FOLDER/pid
DefaultRuntimeDir FOLDER
ErrorLog FOLDER/error.log
ServerName localhost
User www-data
Group www-data
StartServers 2
ThreadsPerChild 32
MaxRequestWorkers 64
AllowEncodedSlashes NoDecode
ProxyPreserveHost On
""" + lanes_text(self.lanes, """Listen ADDRESS:{front}
<VirtualHost ADDRESS:{front}>
  ProxyPass / http://ADDRESS:{back}/ nocanon disablereuse=on
</VirtualHost>
"""))
        return [["apache2", "-D", "FOREGROUND", "-f", conf]]


ALL = (Nginx, Haproxy, H2o, Varnish, Apache) if debian_has_h2o() else (Nginx, Haproxy, Varnish, Apache)


def missing():
    """Programs that are not installed."""
    return [p.program for p in ALL if not shutil.which(p.program)]


class Keeper:
    """Keeps the processes of all proxies running while it is entered. spawn(argv, log) starts one."""

    def __init__(self, proxies, spawn):
        self.spawn, self.is_over = spawn, False
        self.n_restarts = {}
        self.jobs = [[p, argv, None] for p in proxies for argv in p.commands()]

    def start(self, job):
        with open(job[0].folder / "output.log", "ab") as log:
            job[2] = self.spawn(job[1], log)

    def watch(self):
        while not self.is_over:
            for job in self.jobs:
                if job[2].poll() is not None:
                    self.n_restarts[job[0].name] = self.n_restarts.get(job[0].name, 0) + 1
                    self.start(job)
            time.sleep(0.05)

    def __enter__(self):
        for job in self.jobs:
            self.start(job)
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.is_over = True
        self.thread.join()
        for job in self.jobs:
            job[2].terminate()
        for job in self.jobs:
            try:
                job[2].wait(10)
            except subprocess.TimeoutExpired:
                job[2].kill()
                job[2].wait()


def make_lanes(first_port):
    return [(first_port + i, first_port + 100 + i) for i in range(N_LANES)]


def make_all(folder, address, first_port):
    """The five, each with ports of its own from first_port on."""
    folder = pathlib.Path(folder)
    return [cls(folder, address, make_lanes(first_port + 200 * i)) for i, cls in enumerate(ALL)]
