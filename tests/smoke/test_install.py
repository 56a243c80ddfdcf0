# SPDX-License-Identifier: Apache-2.0
"""`meson install` gives all that a node needs, and what it gives works from there."""
import json
import pathlib
import subprocess
import tempfile

from rig import expect, expect_eq

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PAGES = ["weir-ctrl.8", "weir-dataplane.8", "weir-host.8", "weir-nic.8", "weir.yaml.5", "weirctl.1"]


def plain(fn):
    fn.not_sanitized = True  # no program of it serves
    return fn


def run(*argv, status=(0,)):
    p = subprocess.run(list(map(str, argv)), capture_output=True, text=True, timeout=120)
    expect(p.returncode in status, f"{argv[0]} ended with {p.returncode}: {p.stderr[-2000:]}")
    return p.stdout


@plain
def test_what_is_installed_works_from_where_it_is(make):
    build = pathlib.Path(make.args[0]).resolve()
    options = {o["name"]: o["value"] for o in json.loads(run("meson", "introspect", build, "--buildoptions"))}
    with tempfile.TemporaryDirectory() as folder:
        run("meson", "install", "-C", build, "--no-rebuild", "--quiet", "--destdir", folder)
        prefix = pathlib.Path(folder + options["prefix"])
        for name in ("weir-dataplane", "weir-ctrl", "weirctl"):
            expect(name in run(prefix / options["bindir"] / name, "--version"), f"{name} --version")
        nic, host = (prefix / options["sbindir"] / name for name in ("weir-nic", "weir-host"))
        for command in ("list", "plan", "bind", "unbind", "restore"):
            expect(f"weir-nic {command}" in run(nic, command, "--help"), f"weir-nic {command} --help")
        run(nic, "list", "-o", "json")
        run(host, "tune", "governor", status=(0, 1))
        findings = json.loads(run(host, "check", "-o", "json", status=(0, 1)))
        expect(len(str(findings)) > 500, f"weir-host check: {findings}")
        expect_eq(sorted(p.name for p in (prefix / options["mandir"]).rglob("*.[158]")), PAGES, "man pages")
        for name in ("weir-dataplane", "weir-ctrl"):
            for kind in ("", "@"):
                unit = (prefix / f"lib/systemd/system/{name}{kind}.service").read_text()
                expect(f"\nExecStart={options['prefix']}/{options['bindir']}/{name} " in unit, f"{name}{kind}.service: {unit}")
                expect_eq("%i" in unit, kind == "@", "for instances")
        for name in ("sysusers.d", "tmpfiles.d"):
            expect_eq((prefix / f"lib/{name}/weir.conf").read_text(), (ROOT / f"scripts/deploy/systemd/{name}/weir.conf").read_text(), name)
