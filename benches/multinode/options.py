"""The options of `benches/multinode/run`, checked."""

import argparse
import ipaddress
import os
import random
import shlex

import bench
import faults
import namespaces
from errors import Usage

ROOT = os.path.realpath(os.path.join(os.path.dirname(os.path.realpath(__file__)), "..", ".."))
# A minute of a core, in 1,600 strips: short ones, so that 64 workers on two cores take turns often enough. It is not its own
# half-turn: of such a picture the second half comes at once when the first is there, and nobody could go during it.
PICTURE = "-c -0.75 --center 0.05i --size 16000x8000 --width 3 --iter 6000"
DESCRIPTION = """Benchmarks over several hosts, by ssh or in network namespaces of this machine: starts a broker and workers,
runs `fractally bench` on 1, 2, 4 ... all hosts, takes hosts away while a picture is rendered, gathers records and logs, and
stops all that it started."""
EPILOG = """examples:
  run hosts.txt                            the whole series on the hosts of a file
  run hosts.txt --cut-off 1 --lose 1       a render during which two of them go
  run --namespaces 8 --rate 1gbit          eight hosts on this machine, cables of 1 Gbit/s (needs root)
  run --namespaces 64 --cut-off 3          64, of which three are cut off while a picture is rendered
  run --clean                              what killed runs left on this machine; `run hosts.txt --clean` on hosts, too

exit codes:
  0    done
  1    a process, a host or a picture failed
  2    options or a hosts file that cannot be used
  130  stopped by a signal"""


def parse(words):
    parser = argparse.ArgumentParser(
        prog="run", description=DESCRIPTION, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("hosts", nargs="?", metavar="HOSTS", help="the hosts file (README.md describes it)")
    add(
        "--namespaces",
        type=number(1, namespaces.WORKERS_MAX),
        metavar="N",
        help="instead of it: N workers in network namespaces, 1 to 64",
    )
    add("--clean", action="store_true", help="remove what killed runs left, and do nothing else")
    what = parser.add_argument_group("what is measured")
    add = what.add_argument
    add("--series", metavar="NAMES", help=f"of {','.join(bench.SERIES)}, or none [all; none with --lose or --cut-off]")
    add("--sizes", metavar="N,N", help="on how many workers' hosts [1, 2, 4, ..., all]")
    add(
        "--bench",
        metavar="OPTIONS",
        default="",
        help="more options for `fractally bench`, as one word: '--runs 3 --size 2000x1000'",
    )
    add("--threads", type=number(1, 128), metavar="N", help="threads of a worker [1 in namespaces, else one a core]")
    add("--broker-options", metavar="OPTIONS", default="", help="more options for `fractally broker`")
    add("--worker-options", metavar="OPTIONS", default="", help="more options for `fractally worker`")
    gone = parser.add_argument_group("hosts that go while a picture is rendered")
    add = gone.add_argument
    add("--lose", type=number(0, 255), metavar="N", default=0, help="so many are lost: their processes are killed")
    add(
        "--cut-off",
        type=number(0, 255),
        metavar="N",
        default=0,
        help="so many are cut off: a cable is pulled (over ssh: the worker is stopped)",
    )
    add("--at", metavar="TIMES", help="when, one for each: seconds, or shares of the rows, as 5,20%% [20%% to 60%%]")
    add(
        "--picture",
        metavar="OPTIONS",
        default=PICTURE,
        help=f"what is rendered meanwhile, as options of `render` ['{PICTURE}']",
    )
    add("--seed", type=number(0, 2**32), metavar="N", help="which hosts go [random; it is printed]")
    net = parser.add_argument_group("the network")
    add = net.add_argument
    add("--listen", metavar="ADDRESS", help="where the broker listens [its host's address]")
    add("--client-port", type=number(0, 65535), metavar="PORT", default=5555, help="[5555; 0 takes a free one]")
    add("--worker-port", type=number(0, 65535), metavar="PORT", default=5556, help="[5556; 0 takes a free one]")
    add("--trust-network", action="store_true", help="the broker may listen where others can connect")
    add("--network", metavar="NETWORK", default="10.99.0.0/24", help="of namespaces [10.99.0.0/24]; nothing outside sees it")
    add("--rate", metavar="RATE", help="limit each cable of namespaces, each way, as 1gbit or 100mbit")
    there = parser.add_argument_group("getting there")
    add = there.add_argument
    add("-F", dest="ssh_config", metavar="FILE", help="a configuration for ssh")
    add("--connect-timeout", type=number(1, 600), metavar="SECONDS", default=10, help="for a host to answer over ssh [10]")
    add("--unreachable", choices=("stop", "skip"), default="stop", help="what to do about hosts that cannot be reached [stop]")
    add(
        "--binary",
        metavar="FILE",
        default=os.path.join(ROOT, "target", "release", "fractally"),
        help="the program [target/release/fractally]",
    )
    add("--no-copy", action="store_true", help="do not copy it: hosts have it in their folder; version and engine are checked")
    bounds = parser.add_argument_group("bounds and results")
    add = bounds.add_argument
    add("--wait", type=number(1, 3600), metavar="SECONDS", default=60, help="for a broker or workers to be there [60]")
    add(
        "--time-limit",
        type=number(1, 86400),
        metavar="SECONDS",
        default=1800,
        help="for each render, and each call of `fractally bench` [1800]",
    )
    add("--log-bytes", type=number(0, 1 << 30), metavar="N", default=256 << 10, help="kept of each log, from its end [262144]")
    add("--output", metavar="FOLDER", help="where results go [benches/runs/DATE-MACHINE]")
    add("--machine", metavar="NAME", help="the last part of its name [this machine's]")
    options = parser.parse_args(words)
    check(options)
    return options


def check(options):
    """What no option can see by itself. Texts become values."""
    if options.clean:
        return
    if bool(options.hosts) == bool(options.namespaces):
        raise Usage("give a hosts file or --namespaces N, one of them")
    if options.output and os.path.exists(options.output) and (not os.path.isdir(options.output) or os.listdir(options.output)):
        raise Usage(f"--output: {options.output} has something in it; name a folder that is new or empty")
    if options.rate and not options.namespaces:
        raise Usage("--rate limits the cables of namespaces; those of other hosts are not ours")
    try:
        options.listen = str(ipaddress.ip_address(options.listen)) if options.listen else None
    except ValueError:
        raise Usage(f"--listen: {options.listen!r} is no IP address") from None
    options.rate = namespaces.rate(options.rate) if options.rate else None
    for name in ("bench", "broker_options", "worker_options", "picture"):
        setattr(options, name, split(name, getattr(options, name)))
    options.has_faults = options.lose + options.cut_off > 0
    if options.at and not options.has_faults:
        raise Usage("--at says when hosts go; --lose N or --cut-off N says how many")
    options.at = faults.times(options.at) if options.at else None
    options.seed = random.randrange(1 << 32) if options.seed is None else options.seed
    options.series = chosen(options.series, options.has_faults)
    if not options.series and not options.has_faults:
        raise Usage("--series none without --lose or --cut-off leaves nothing to do")
    if options.namespaces:
        options.threads = options.threads or 1
        options.trust_network = True  # Nobody else is on that network.
    if not os.access(options.binary, os.X_OK) or os.path.isdir(options.binary):
        raise Usage(f"--binary: there is no program at {options.binary}; `cargo build --release` makes one")


def sizes(text, workers):
    """On how many hosts to measure: 1, 2, 4 and so on to all, or what the option says."""
    if not text:
        return sorted({2**k for k in range(workers.bit_length()) if 2**k <= workers} | {workers})
    words = [word.strip() for word in text.split(",")]
    if any(not word.isdecimal() or not 1 <= int(word) <= workers for word in words):
        raise Usage(f"--sizes: {text!r} are not numbers from 1 to {workers}, as 1,2,4")
    return sorted({int(word) for word in words})


def chosen(text, has_faults):
    if text is None:
        return [] if has_faults else list(bench.SERIES)
    if text == "none":
        return []
    names = [name.strip() for name in text.split(",")]
    unknown = [name for name in names if name not in bench.SERIES]
    if unknown:
        raise Usage(f"--series: {unknown[0]!r} is none of {', '.join(bench.SERIES)}, none")
    return [name for name in bench.SERIES if name in names]


def split(name, text):
    try:
        return shlex.split(text)
    except ValueError as error:
        raise Usage(f"--{name.replace('_', '-')}: {text!r}: {error}") from None


def number(least, most):
    def read(text):
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {least} to {most}")
        return int(text)

    return read
