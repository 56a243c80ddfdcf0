# SPDX-License-Identifier: Apache-2.0
"""Checks of weir-host: processors, and who else is on the workers' cores."""
from host_checks import Keep, Write, check, fail, keep_write, note, ok, skip, warn
from host_root import format_cpus, format_mask, parse_cpus, parse_mask

# As dataplane/base/cpu.c, by the names of /proc/cpuinfo.
V3 = ("avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave", "sse4_2", "ssse3", "popcnt", "cx16")
QAT_SOFTWARE = ("avx512f", "vaes", "vpclmulqdq")
CPU = "/sys/devices/system/cpu"


@check("cpu", "The processor has x86-64-v3 (AVX2, BMI, FMA), for which Weir is built, and AES, carry-less multiplication and a random generator, "
       "without which TLS is slow. What qatengine needs to work in software (AVX-512, VAES) is a note.",
       "Another machine; of a virtual one, the host's own CPU model.", needs_config=False)
def cpu(host, needs):
    if not host.flags:
        yield skip(f"the processor's flags are not shown {host.place}")
        return
    missing = [f for f in V3 if f not in host.flags]
    if missing:
        yield fail("", f"without {', '.join(missing)}", "x86-64-v3", "weir-dataplane ends at once",
                   mend="another CPU; of a virtual machine, the host's CPU model (-cpu host)")
    else:
        yield ok("", "x86-64-v3")
    slow = [f for f in ("aes", "pclmulqdq", "rdrand") if f not in host.flags]
    if slow:
        yield warn("TLS", f"without {', '.join(slow)}", "with them", "ciphers in plain code are many times slower",
                   mend="switch them on in the firmware; of a virtual machine, take the host's CPU model (-cpu host)")
    else:
        yield ok("TLS", "aes, pclmulqdq, rdrand")
    without = [f for f in QAT_SOFTWARE if f not in host.flags]
    yield note("qatengine", f"no work in software: without {', '.join(without)}" if without else f"{', '.join(QAT_SOFTWARE)} are there")


@check("tsc", "The time stamp counter runs at one rate, also in sleep: it is the workers' clock.",
       "The firmware; of a virtual machine, its host (`invtsc`).", needs_config=False)
def tsc(host, needs):
    if not host.flags:
        yield skip(f"the processor's flags are not shown {host.place}")
        return
    missing = [f for f in ("constant_tsc", "nonstop_tsc") if f not in host.flags]
    if missing:
        yield warn("", f"without {', '.join(missing)}", "constant_tsc and nonstop_tsc", "timers of TCP run by it",
                   mend="switch invariant TSC on: -cpu host,+invtsc of QEMU, or the firmware")
    else:
        yield ok("", "constant and nonstop")


@check("clocksource", "The kernel trusts the time stamp counter, too. Where it does not, the counter jumped.",
       "`tsc` in `current_clocksource`; if it is not among `available_clocksource`, look for the reason in `dmesg`.", needs_config=False)
def clocksource(host, needs):
    base = "/sys/devices/system/clocksource/clocksource0"
    now, may = host.read(f"{base}/current_clocksource"), (host.read(f"{base}/available_clocksource") or "").split()
    if not now:
        yield skip(f"not shown {host.place}")
    elif now == "tsc" or (host.is_virtual and now in ("kvm-clock", "hyperv_clocksource_tsc_page", "xen")):
        yield ok("", now)
    elif "tsc" in may:
        yield warn("", now, "tsc", "each clock read of the kernel is a slow one", actions=(Write(f"{base}/current_clocksource", "tsc"),))
    else:
        yield warn("", now, "tsc", "the kernel found the time stamp counter unstable", mend="dmesg | grep -i -e tsc -e clocksource")


@check("cores", "The cores of `workers.cores` exist and are online, core 0 (which has the kernel's own work) is none of them, main has another one.",
       "`workers.cores` and `workers.main_core` of weir.yaml.")
def cores(host, needs):
    workers = set(needs.cores)
    absent = workers - host.online
    if not host.online:
        yield skip(f"cores are not shown {host.place}")
        return
    if absent:
        yield fail(format_cpus(absent), "not online", f"among {format_cpus(host.online)}", "DPDK does not start",
                   mend="workers.cores of weir.yaml, or bring them up: echo 1 > /sys/devices/system/cpu/cpuN/online")
    if 0 in workers:
        yield warn("0", "a worker's", "the kernel's", "it takes interrupts and work that cannot be moved", mend="another core in workers.cores of weir.yaml")
    if needs.main_core in workers:
        yield warn(str(needs.main_core), "a worker's and main's", "of one of them", "they take time from each other",
                   mend="another workers.main_core in weir.yaml")
    if not absent and 0 not in workers and needs.main_core not in workers:
        yield ok(format_cpus(workers), "online, none of them core 0")


@check("smt", "No worker shares a core's execution units (SMT) with another worker, or with a thread that others use.",
       "One thread of each core in `workers.cores`; take the other offline, or isolate it with the workers'.")
def smt(host, needs):
    workers = set(needs.cores) & host.online
    siblings = {c: host.siblings(c) & host.online for c in workers}
    both = {c for c in workers if siblings[c] & workers}
    if both:
        yield warn(format_cpus(both), "two workers on one core", "one", "each gets about half of it",
                   mend="one thread of each core in workers.cores of weir.yaml")
    busy = {s for c in workers for s in siblings[c]} - workers - isolated_cpus(host)
    if busy:
        yield warn(format_cpus(busy), "sibling of a worker, for everybody's use", "offline, or isolated", "what runs there slows the worker",
                   mend="for c in {}; do echo 0 > {}/cpu$c/online; done".format(" ".join(map(str, sorted(busy))), CPU))
    if not both and not busy:
        yield ok("", "no worker shares a core")


# ---- isolation

def partitions(host):
    """CPUs of isolated partitions of cgroup v2 (cpuset)."""
    cpus = parse_cpus(host.read("/sys/fs/cgroup/cpuset.cpus.isolated"))
    for depth in ("*", "*/*"):
        for path in host.glob(f"/sys/fs/cgroup/{depth}/cpuset.cpus.partition"):
            if host.read(path) == "isolated":  # not: "isolated invalid (why)"
                cpus |= parse_cpus(host.read(path.replace(".partition", ".effective")))
    return cpus


def isolated_cpus(host):
    return parse_cpus(host.read(f"{CPU}/isolated")) | partitions(host)


def to_isolate(host, workers):
    """Workers' cores, the other threads of them, and what is isolated by the command line already. Core 0 cannot be."""
    siblings = {s for c in workers for s in host.siblings(c)} & host.online
    cpus = workers | siblings | parse_cpus(host.read(f"{CPU}/isolated"))
    return (cpus if host.online - cpus else workers) - {0}


@check("isolation", "The scheduler leaves the workers' cores alone (`isolcpus`, or an isolated cpuset partition of cgroup v2), the tick stops there "
       "(`nohz_full`), RCU's callbacks run elsewhere (`rcu_nocbs`, which nohz_full brings along).",
       "The kernel's command line: `isolcpus=managed_irq,domain,LIST nohz_full=LIST rcu_nocbs=LIST`, with the other threads (SMT) of these cores.")
def isolation(host, needs):
    workers = set(needs.cores)
    names, wanted = format_cpus(workers), format_cpus(to_isolate(host, workers))
    left = workers - isolated_cpus(host)
    if workers <= {0}:
        yield warn("0", "the only worker's core", "another one", "core 0 keeps the kernel's own work", mend="another core in workers.cores of weir.yaml")
        return
    if left:
        yield warn(format_cpus(left), "not isolated", "in isolcpus, or in an isolated cpuset partition", "any process may take a worker's time",
                   kernel=(f"isolcpus=managed_irq,domain,{wanted}",))
    else:
        yield ok(names, "isolated")
    if not host.exists(f"{CPU}/nohz_full"):
        yield skip("this kernel has no nohz_full", "tick")
    else:
        ticking = workers - parse_cpus(host.read(f"{CPU}/nohz_full"))
        if ticking:
            yield warn(f"tick {format_cpus(ticking)}", "not in nohz_full", "in it", "the tick interrupts a worker up to 1000 times a second",
                       kernel=(f"nohz_full={wanted}",))
        else:
            yield ok(f"tick {names}", "stops")
    own = workers - parse_cpus(host.cmdline.get("rcu_nocbs")) - parse_cpus(host.read(f"{CPU}/nohz_full"))
    if "rcu_nocbs" in host.cmdline and host.cmdline["rcu_nocbs"] in ("", "all"):
        own = set()
    if own:
        yield warn(f"rcu {format_cpus(own)}", "not in rcu_nocbs", "in it", "the kernel frees memory there", kernel=(f"rcu_nocbs={wanted}",))
    else:
        yield ok(f"rcu {names}", "elsewhere")


# ---- interrupts

IRQ_FILES = ("affinity_hint", "effective_affinity", "effective_affinity_list", "node", "smp_affinity", "smp_affinity_list", "spurious")


def irq_affinities(host):
    """(number, its handlers, CPUs where it may come); those without a handler are nobody's."""
    for path in host.glob("/proc/irq/[0-9]*"):
        handlers = [h for h in host.list(path) if h not in IRQ_FILES]
        if handlers:
            yield int(path.rsplit("/", 1)[1]), handlers, parse_cpus(host.read(f"{path}/smp_affinity_list"))


@check("irq", "Interrupts of devices, and those of devices to come (`default_smp_affinity`), go to other cores than the workers'.",
       "`smp_affinity_list` of each. Those that the kernel manages (NVMe's, say) refuse: `isolcpus=managed_irq,...` is for them.")
def irq(host, needs):
    workers = set(needs.cores)
    others = host.online - workers
    if not host.exists("/proc/irq/default_smp_affinity"):
        yield skip(f"interrupts are not shown {host.place}")
        return
    if not others:
        yield skip("all cores are workers': interrupts have nowhere else to go")
        return
    default = parse_mask(host.read("/proc/irq/default_smp_affinity"))
    to = format_mask((default - workers) & host.online or others)
    keep = (keep_write("/proc/irq/default_smp_affinity", to),)
    if default & workers & host.online:
        yield warn("default", f"cores {format_cpus(default & host.online)}", f"cores {format_cpus(host.online - workers)}",
                   "devices to come would interrupt workers", actions=(Write("/proc/irq/default_smp_affinity", to),), keep=keep)
    else:
        yield ok("default", f"cores {format_cpus(default & host.online)}", keep=keep)
    wrong = [(n, h, may) for n, h, may in irq_affinities(host) if may & workers]
    if not wrong:
        yield ok("", "none on workers' cores")
        return
    names = ", ".join(f"{n} ({h[0]})" for n, h, _ in wrong[:4]) + (", ..." if len(wrong) > 4 else "")
    yield warn("", f"{len(wrong)} may come to workers' cores: {names}", f"on cores {format_cpus(others)} only", "each interrupts a worker",
               actions=tuple(Write(f"/proc/irq/{n}/smp_affinity_list", format_cpus(may & others or others)) for n, _, may in wrong))


def banned_cpus(host, pid):
    """Whom irqbalance leaves alone: what it is told, else those in isolcpus and nohz_full."""
    words = (host.read(f"/proc/{pid}/environ") or "").split("\0")
    words += [line.strip() for line in (host.read("/etc/default/irqbalance") or "").splitlines()]
    env = {k: v.strip("\"'") for k, sep, v in (w.partition("=") for w in reversed(words)) if sep}
    if env.get("IRQBALANCE_BANNED_CPULIST"):
        return parse_cpus(env["IRQBALANCE_BANNED_CPULIST"])
    if env.get("IRQBALANCE_BANNED_CPUS"):
        return parse_mask(env["IRQBALANCE_BANNED_CPUS"])
    return parse_cpus(host.read(f"{CPU}/isolated")) | parse_cpus(host.read(f"{CPU}/nohz_full"))


@check("irqbalance", "irqbalance does not run, or knows that the workers' cores are not for interrupts.",
       "`IRQBALANCE_BANNED_CPULIST` in `/etc/default/irqbalance`. By itself it spares cores of isolcpus and nohz_full.")
def irqbalance(host, needs):
    pids = host.pids("irqbalance")
    if not pids:
        yield ok("", "does not run")
        return
    left = set(needs.cores) - banned_cpus(host, pids[0])
    if left:
        names = format_cpus(needs.cores)
        yield warn(format_cpus(left), "irqbalance moves interrupts there", "banned for it", "it undoes what is set by hand",
                   mend=f"echo IRQBALANCE_BANNED_CPULIST={names} >> /etc/default/irqbalance && systemctl restart irqbalance")
    else:
        yield ok("", f"spares cores {format_cpus(needs.cores)}")


# ---- energy

@check("governor", "The workers' cores run at full clock (governor `performance`).", "`performance` in each `scaling_governor`.")
def governor(host, needs):
    now = {c: host.read(f"{CPU}/cpu{c}/cpufreq/scaling_governor") for c in needs.cores}
    known = {c: g for c, g in now.items() if g}
    if not known:
        yield skip(f"no clock control {host.place}")
        return
    paths = {c: f"{CPU}/cpu{c}/cpufreq/scaling_governor" for c in known}
    keep = tuple(keep_write(p, "performance") for p in paths.values())
    slow = sorted(c for c, g in known.items() if g != "performance")
    if slow:
        yield warn(format_cpus(slow), "/".join(sorted({known[c] for c in slow})), "performance", "the clock rises only after load is there",
                   actions=tuple(Write(paths[c], "performance") for c in slow), keep=keep)
    else:
        yield ok(format_cpus(known), "performance", keep=keep)


@check("cstates", "Where workers sleep (`workers.idle`), their cores use no state of sleep that takes longer to leave than 50 us: weir-dataplane sees to it while it runs "
       "(`pm_qos_resume_latency_us` of the cores is `workers.idle_latency_us`), if the kernel has that for each core. "
       "Turbo is a note: with it clocks depend on what other cores do.",
       "`disable` of the deep states; or `workers.idle: spin`, with which a worker's core never sleeps.")
def cstates(host, needs):
    deep = {}
    unbounded = [c for c in needs.cores if not host.exists(f"{CPU}/cpu{c}/power/pm_qos_resume_latency_us")]
    for c in unbounded:
        for state in host.glob(f"{CPU}/cpu{c}/cpuidle/state[0-9]*"):
            if (host.read_int(f"{state}/latency") or 0) > 50 and host.read(f"{state}/disable") == "0":
                deep.setdefault(host.read(f"{state}/name") or "?", []).append(f"{state}/disable")
    if not any(host.exists(f"{CPU}/cpu{c}/cpuidle") for c in needs.cores):
        yield skip(f"states of sleep are not shown {host.place}")
    elif needs.idle in ("spin", "pause"):
        yield ok("", "workers never sleep")
    elif deep:
        yield warn(", ".join(sorted(deep)), "allowed", "disabled", "the first packet waits longer than 50 us",
                   actions=tuple(Write(p, "1") for paths in deep.values() for p in paths),
                   keep=tuple(keep_write(p, "1") for paths in deep.values() for p in paths))
    else:
        yield ok("", "none above 50 us" if unbounded else "weir-dataplane bounds them")
    no_turbo, boost = host.read("/sys/devices/system/cpu/intel_pstate/no_turbo"), host.read("/sys/devices/system/cpu/cpufreq/boost")
    if no_turbo or boost:
        yield note("turbo", "on" if no_turbo == "0" or boost == "1" else "off", "on is faster, off is steadier")


@check("timers", "Timers of other cores do not move to the workers', which look busy (`kernel.timer_migration`); in nohz_full none do.",
       "`nohz_full`, or `kernel.timer_migration = 0`.")
def timers(host, needs):
    now = host.read("/proc/sys/kernel/timer_migration")
    keep = (Keep("sysctl", "kernel.timer_migration", "0"),)
    if now is None:
        yield skip(f"not shown {host.place}")
    elif now == "0":
        yield ok("", "stay where they are", keep=keep)
    elif set(needs.cores) <= parse_cpus(host.read(f"{CPU}/nohz_full")):
        yield ok("", "move, but not to cores in nohz_full")
    else:
        yield warn("", "may move to workers' cores", "kept where they are", "they interrupt workers",
                   actions=(Write("/proc/sys/kernel/timer_migration", "0"),), keep=keep)


@check("watchdogs", "The NMI watchdog and the one for soft lockups leave the workers' cores alone.",
       "`kernel.nmi_watchdog = 0`, `kernel.watchdog_cpumask` without the workers' cores.")
def watchdogs(host, needs):
    nmi, mask = host.read("/proc/sys/kernel/nmi_watchdog"), host.read("/proc/sys/kernel/watchdog_cpumask")
    keep = (Keep("sysctl", "kernel.nmi_watchdog", "0"),)
    if nmi is None:
        yield skip(f"no NMI watchdog {host.place}", "nmi")
    elif nmi == "1":
        yield warn("nmi", "on", "off", "it interrupts workers, and takes a counter that perf needs",
                   actions=(Write("/proc/sys/kernel/nmi_watchdog", "0"),), keep=keep)
    else:
        yield ok("nmi", "off", keep=keep)
    on = parse_cpus(mask) & set(needs.cores)
    if mask is None:
        yield skip(f"no watchdog {host.place}", "soft")
    elif on and host.read("/proc/sys/kernel/watchdog") != "0":
        rest = format_cpus(parse_cpus(mask) - set(needs.cores) or host.online - set(needs.cores))
        if not rest:
            yield skip("all cores are workers'", "soft")
            return
        yield warn(f"soft {format_cpus(on)}", "watched", "left out", "its timer runs there every few seconds",
                   actions=(Write("/proc/sys/kernel/watchdog_cpumask", rest),), keep=(Keep("sysctl", "kernel.watchdog_cpumask", rest),))
    else:
        yield ok("soft", "not on workers' cores")
