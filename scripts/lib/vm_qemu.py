# SPDX-License-Identifier: Apache-2.0
"""The QEMU that a guest runs in: the machine's, or Debian 13's out of a root of its own, where the machine's has no model of a NIC."""
import hashlib
import os
import pathlib
import subprocess

NEWER_SUITE = "trixie"
NEWER_PACKAGES = "qemu-system-x86,ipxe-qemu"

# Paths are the same on both sides. The mounts are of a namespace, and end with QEMU, whose process this one becomes.
ENTER = """
root=$1
mount -t tmpfs tmpfs "$root/tmp"
for kind in dev proc sys; do mount --rbind "/$kind" "$root/$kind"; done
shift
while [ "$1" != -- ]; do
	mkdir -p "$root$1"
	mount --bind "$1" "$root$1"
	shift
done
shift
exec chroot "$root" "$@"
"""


class Qemu:
    """root: None, or the folder of a Debian in which program is."""

    def __init__(self, program="qemu-system-x86_64", root=None):
        self.program, self.root = program, root

    def argv(self, *folders):
        """A command to which QEMU's arguments may be added. folders: all that they name files of."""
        if not self.root:
            return [self.program]
        return ["unshare", "--mount", "--propagation", "private", "bash", "-euc", ENTER, "enter-root", self.root, *map(os.path.realpath, folders), "--", self.program]

    def _says(self, *asked):
        return subprocess.run([*map(str, self.argv()), *asked], check=True, capture_output=True, text=True, timeout=60).stdout

    def models(self):
        return self._says("-device", "help")

    def version(self):
        return self._says("--version").split("\n")[0]


def make_debian(root, suite, packages, log):
    """A Debian with nothing but what every one has, and packages (by comma) with what they need, from this machine's mirror."""
    mirror = subprocess.run("""apt-get indextargets --format '$(LABEL) $(REPO_URI)' 'Created-By: Packages' | awk '$1 == "Debian" {print $2; exit}'""",
                            shell=True, check=True, capture_output=True, text=True).stdout.strip()
    subprocess.run(["rm", "-rf", "--one-file-system", root], check=True)
    subprocess.run(["debootstrap", "--variant=minbase", f"--include={packages}", suite, root, mirror], check=True, stdout=log, stderr=log)


def newer(folder):
    """Debian 13's, in folder/qemu, which is made unless it is there."""
    root, mark = pathlib.Path(folder, "qemu"), pathlib.Path(folder, "qemu.mark")
    wanted = hashlib.sha256(f"{NEWER_SUITE} {NEWER_PACKAGES}".encode()).hexdigest()
    if not mark.exists() or mark.read_text() != wanted:
        print("a newer QEMU is installed in a root of its own, which takes a minute", flush=True)
        mark.unlink(missing_ok=True)
        pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
        with open(pathlib.Path(folder, "qemu.log"), "wb") as log:
            make_debian(root, NEWER_SUITE, NEWER_PACKAGES, log)
        subprocess.run(f"rm -rf '{root}'/var/cache/apt/archives/*.deb '{root}'/var/lib/apt/lists/*", shell=True, check=True)
        mark.write_text(wanted)
    return Qemu(root=root)
