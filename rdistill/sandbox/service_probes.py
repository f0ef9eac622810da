"""The self-test of level `external`: is a service that runs code a sandbox?

It may be on this machine or another. Judged from here: its replies, bait, listeners, processes. The rest our own
programs tell from the inside (service_attacks.py). A service that fails a round of attacks is spared the next, harder.
"""

import secrets
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

from rdistill.sandbox.attacks import ATTEMPT, Bait
from rdistill.sandbox.box import Sandbox
from rdistill.sandbox.evidence import (
    Probe,
    baited,
    folder_untouched,
    honest,
    judged,
    network_untouched,
    survivors,
    victim_unharmed,
)
from rdistill.sandbox.service_attacks import FIRM, LIMIT_PROGRAMS, LIMITS, QUIET, Aim, find, leave

FAR_PLACES = [("169.254.169.254", 80), ("1.1.1.1", 443)]
"""A cloud's metadata, which hands out credentials, and the open internet."""
FAR_NAME_SERVERS = ["1.1.1.1"]
LIMIT_S, LEAVE_S = 2.0, 1.5


def attack_service(sandbox: Sandbox) -> list[Probe]:
    """Every probe, in rounds; those after a round in which something got through are left out."""
    control = honest(sandbox)
    if not control.ok:
        return [control]
    with baited("0.0.0.0") as bait:
        aim = aimed(str(sandbox.url), bait)
        found = [control]
        for attack_round in (_quiet, _firm, _limits):
            found += attack_round(sandbox, aim)
            if not all(probe.ok for probe in found):
                break
        found += [network_untouched(bait), folder_untouched(bait), victim_unharmed(bait)]
    return found


def aimed(url: str, bait: Bait) -> Aim:
    """Where the service's programs must not get to: the service, this machine, name servers, the internet."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    own = {"127.0.0.1", *(_address_towards(host) for host in (parts.hostname or "", FAR_PLACES[0][0]))} - {""}
    try:
        service = {str(place[4][0]) for place in socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)}
    except OSError:
        service = set()
    places = [(address, port) for address in sorted(service | own)]
    return Aim(bait, places + FAR_PLACES, [(address, bait.port) for address in sorted(own)], _name_servers())


def _address_towards(host: str) -> str:
    """This machine's own address on the way to another; empty where there is no way. Nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((host, 9))
            return str(probe.getsockname()[0])
        except OSError:
            return ""


def _name_servers() -> list[str]:
    try:
        lines = [line.split() for line in Path("/etc/resolv.conf").read_text().splitlines()]
    except OSError:
        lines = []
    return [line[1] for line in lines if line[:1] == ["nameserver"] and len(line) > 1] + FAR_NAME_SERVERS


def _quiet(sandbox: Sandbox, aim: Aim) -> list[Probe]:
    probes = [judged(name, sandbox.run(ATTEMPT + code(aim)), aim.bait) for name, code in QUIET.items()]
    return probes + _other_runs(sandbox, aim)


def _firm(sandbox: Sandbox, aim: Aim) -> list[Probe]:
    return [judged(name, sandbox.run(ATTEMPT + code(aim)), aim.bait) for name, code in FIRM.items()]


def _other_runs(sandbox: Sandbox, aim: Aim) -> list[Probe]:
    """A run leaves files and a daemon; one beside it and one after it must find none."""
    marker = f"left-{secrets.token_hex(8)}"
    with ThreadPoolExecutor(1) as pool:
        leaving = pool.submit(sandbox.run, ATTEMPT + leave(marker, LEAVE_S), timeout_s=2 * LEAVE_S)
        time.sleep(LEAVE_S / 3)
        beside = sandbox.run(ATTEMPT + find(marker))
        left = leaving.result()
    after = sandbox.run(ATTEMPT + find(marker))
    return [
        Probe("a run to look for", left.status in ("ok", "timeout"), f"{left.status}: {left.stderr[-200:]}"),
        judged("a run beside another", beside, aim.bait),
        judged("a run after another", after, aim.bait),
        survivors(marker),
    ]


def _limits(sandbox: Sandbox, aim: Aim) -> list[Probe]:
    """Each limit, up to the first that does not hold; after them the service must still serve."""
    probes = []
    for name, code in LIMIT_PROGRAMS.items():
        result = sandbox.run(code, timeout_s=LIMIT_S)
        expected = " or ".join(sorted(LIMITS[name]))
        detail = f"{result.status} after {result.seconds:.2f} s, expected {expected}: {result.stderr[-100:]}"
        probes.append(Probe(name, result.status in LIMITS[name], detail))
        if not probes[-1].ok:
            return probes
    return [*probes, honest(sandbox)._replace(name="honest code runs after that")]
