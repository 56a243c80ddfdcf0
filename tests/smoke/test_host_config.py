# SPDX-License-Identifier: Apache-2.0
"""scripts/lib/host_config.py: what weir.yaml needs of the host, by weir-dataplane --print-needs and by the small reader."""
import json
import pathlib
import subprocess
import sys
import tempfile

from rig import expect, expect_eq

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "scripts/lib"))
import host_config  # noqa: E402

CONFIG = """# of an edge node
ports:
  - pci: 0000:81:00.0
    addresses: [192.0.2.10/24, "2001:db8::10/64"]   # both families
    gateways: [192.0.2.1]
workers: {cores: [5, 6], main_core: 1}
memory: {mb: 1024}
"""
FORMS = [
    CONFIG,
    "ports:\n- pci: '0000:81:00.0'\n  addresses:\n  - 192.0.2.10/24\n  - \"2001:db8::10/64\" # two\n  vlans:\n  - id: 3\n    addresses: [10.0.0.1/8]\n"
    "- {vdev: \"net_tap0,iface=weir0\", addresses: [198.51.100.1/24]}\nworkers:\n  cores:\n  - 3\n  - 4\n  idle: sleep\nmemory:\n    hugepages: true\n    mb: 300\n",
    "---\nports: [{vdev: 'net_tap0,iface=it#1', addresses: [198.51.100.1/24]}]\nmemory: {hugepages: false, mb: 99}\n",
    "ports:\n  - {pci: 0000:0A:00.1, addresses: [192.0.2.10/24,\n      \"2001:db8::10/64\"]}\n\nworkers: {cores: [7], main_core: 0}\nmemory: {mb: 512}\n"
    "tls: {offload: {kind: engine, engine: {id: dynamic}}}\n",
]

WRONG = [  # weir.yaml, a part of what is said
    ("ports: [{pci: 0000:81:00.0}]\nworkers:\n\tcores: [1]\n", "weir.yaml:3"),
    ("ports: [{pci: 0000:81:00.0, addresses: [192.0.2.10/24]}\nworkers: {cores: [1]}\n", "weir.yaml:2"),
    ("ports:\n  - pci: 81:00.0\n    addresses: [192.0.2.10/24]\n", "expected a PCI address"),
    ("ports: [{vdev: net_tap0}]\nworkers: {cores: [x]}\n", "workers.cores: expected a number"),
    ("ports: [{vdev: net_tap0}]\nworkers: {cores: 3}\n", "workers.cores: expected a list"),
    ("ports: [{vdev: net_tap0}]\nworkers: {idle: doze}\n", "workers.idle: expected spin, pause, sleep or interrupt"),
    ("ports: [{vdev: net_tap0}]\nmemory: {hugepages: maybe}\n", "memory.hugepages: expected true or false"),
    ("ports: [{vdev: net_tap0}]\nmemory: {mb: -1}\n", "memory.mb: expected a number"),
    ("ports: [{vdev: net_tap0}]\nmemory: 3\n", "memory: expected a mapping"),
    ("ports: [{vdev: net_tap0}]\nports: [{vdev: net_tap1}]\n", "weir.yaml:2: ports a second time"),
    ("ports: [{vdev: net_tap0}]\n  workers: {cores: [1]}\n", "weir.yaml:2: unexpected indentation"),
    ("ports: [{vdev: net_tap0}] x\n", "weir.yaml:1: unexpected x"),
    ("ports: [}\n", "weir.yaml:1: unexpected }"),
    ("ports: [{vdev net_tap0}]\n", "weir.yaml:1: expected KEY: VALUE"),
    ("workers: {cores: [1]}\n- x\n", "weir.yaml:2: unexpected item of a list"),
    ("ports: 1\n", "ports: expected a list"),
    ("", "expected a mapping"),
]


def plain(fn):
    """There is no C in it but what other tests have."""
    fn.not_sanitized = True
    return fn


def print_needs(make, text):
    """Exit status, what weir-dataplane prints, and its errors, with FILE for the file's name."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "weir.yaml")
        path.write_text(text)
        done = subprocess.run([pathlib.Path(make.args[0]).resolve() / "dataplane/weir-dataplane", "--print-needs", "-c", path],
                              capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout, done.stderr.replace(str(path), "FILE")


def said_by_dataplane(make, text):
    status, out, err = print_needs(make, text)
    expect_eq((status, err), (0, ""), f"weir-dataplane --print-needs of {text}")
    return json.loads(out)


@plain
def test_the_small_reader_says_what_weir_dataplane_says(make):
    for i, text in enumerate(FORMS):
        expect_eq(vars(host_config.read_needs(text, "weir.yaml")), vars(host_config.Needs(said_by_dataplane(make, text))), f"of form {i}")


@plain
def test_needs_are_printed_of_a_good_weir_yaml_only(make):
    expect_eq(said_by_dataplane(make, CONFIG), {"pci": ["0000:81:00.0"], "cores": [5, 6], "main_core": 1, "idle": "spin", "hugepages": True,
                                                "memory_mb": 1024, "offload": False}, "needs")
    status, out, err = print_needs(make, CONFIG + "nonsense: 1\n")
    expect_eq((status, out), (2, ""), "of an unknown key")
    expect(err.startswith("FILE:8:1: unknown key 'nonsense'"), err)


@plain
def test_memory_needed_follows_the_pools(make):
    text = CONFIG.replace("memory: {mb: 1024}", "")
    mb = said_by_dataplane(make, text)["memory_mb"]
    guess = host_config.read_needs(text, "weir.yaml")
    expect(mb <= guess.memory_mb <= 2 * mb and guess.is_estimate, f"the guess {guess.memory_mb} covers the {mb} of default pools")
    expect(said_by_dataplane(make, text + "pools: {mbufs: 262144}\n")["memory_mb"] > 2 * mb, "larger pools take more")


@plain
def test_the_small_reader_refuses_what_it_does_not_understand(make):
    for text, wanted in WRONG:
        try:
            needs = vars(host_config.read_needs(text, "weir.yaml"))
        except host_config.ConfigError as e:
            expect(str(e).startswith("weir.yaml:") and wanted in str(e), f"{text!r}: {e}")
        else:
            raise AssertionError(f"{text!r} was read: {needs}")
