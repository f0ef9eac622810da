"""How well this machine can hold model-written code: the levels, from the best to the worst.

    strong           bubblewrap: a root, processes, network and IPC of its own; seccomp, limits
    strong-nobwrap   the same namespaces by unshare(1), but the host's files behind Landlock; seccomp, limits
    medium           no namespaces: Landlock, seccomp, limits; another uid where it is started by root
    external         a service by URL (service.py): only where the config names it, and then nothing is tried here
    weak             limits only (and another uid where it is started by root)

Which level a machine has is found by attacking it (probes.py). The command that found out hands it to the processes
that it starts by an environment variable.
"""

import ctypes
import os
import platform
import shutil
from typing import Literal, NamedTuple, get_args
from urllib.parse import urlsplit

from rdistill.errors import PrerequisiteError
from rdistill.sandbox import landlock
from rdistill.sandbox.seccomp import AUDIT_ARCH

Level = Literal["strong", "strong-nobwrap", "medium", "external", "weak"]
LEVELS: tuple[Level, ...] = get_args(Level)
LOCAL: tuple[Level, ...] = tuple(level for level in LEVELS if level != "external")
"""Those of this machine. A service is never one of several to choose from: code goes there only where it is named."""
VARIABLE, URL_VARIABLE = "RDISTILL_SANDBOX_LEVEL", "RDISTILL_SANDBOX_URL"
PR_GET_SECCOMP = 21
SANDBOXED = ("generate", "verify", "pair", "evaluate")
"""Stages that may ask verifiers, which may run code that a model wrote: they take consent to a lower level."""


class Consent(NamedTuple):
    """What was typed on the command line, and nowhere else.

    `weak` accepts the best level that the machine has, `untrusted` that code runs behind nothing but limits.
    """

    weak: bool = False
    untrusted: bool = False


def granted() -> Level:
    """The level that the command above this process settled on; `strong` where none did."""
    level = os.environ.get(VARIABLE, "strong")
    if level not in LEVELS:
        raise PrerequisiteError(f"{VARIABLE}={level!r} is no sandbox level; unset it: rdistill sets it by itself")
    return level


def granted_url() -> str | None:
    """The service that goes with level `external`."""
    return os.environ.get(URL_VARIABLE) if granted() == "external" else None


def grant(level: Level, url: str | None = None) -> None:
    """Let this process, and those that it starts from now on, run model-written code at a level.

    `url`: of the service, for level `external`.
    """
    forget_granted()
    os.environ[VARIABLE] = level
    if url is not None:
        os.environ[URL_VARIABLE] = url


def forget_granted() -> None:
    """A command settles on a level by itself, whatever its caller's environment says."""
    os.environ.pop(VARIABLE, None)
    os.environ.pop(URL_VARIABLE, None)


def url_fault(url: str) -> str | None:
    """Why an address cannot be a service's; None if it can. What it says holds no password."""
    try:
        parts = urlsplit(url)
        is_web = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_web = False
    if not is_web or not url.isascii() or not url.isprintable() or " " in url:
        return "url is no http(s) address; write one like http://127.0.0.1:8080"
    if parts.username is not None or parts.password is not None:
        return "url holds a user name or password, which would be written to config.yaml; take it out"
    if parts.query or parts.fragment:
        return f"url={url!r} ends in a query or fragment; end it before that, /run_code is added to it"
    return None


def sandbox_warnings(level: Level, lowest: Level) -> list[str]:
    """What to say each time that level weak, or one below the required, was accepted on the command line."""
    if lowest == "external" != level:
        return [
            f"code that a model wrote runs on this machine, at sandbox level {level}, and not in the service of "
            "sandbox.url: it was accepted on the command line, and every row that comes of it says so"
        ]
    if level == "strong":
        return []
    if level != "weak" and LEVELS.index(level) <= LEVELS.index(lowest):
        return [f"code that a model wrote runs at sandbox level {level}, which sandbox.require={lowest} allows"]
    return [
        f"code that a model wrote runs at sandbox level {level}, where sandbox.require={lowest}: it was accepted on "
        "the command line, and every row that comes of it says so"
    ]


def missing(level: Level) -> str | None:
    """What a level needs and this machine lacks, with the line that mends it; None if nothing is known to be."""
    if level == "external":
        return (
            None if platform.system() == "Linux" else f"the self-test needs Linux, got {platform.system()}; move there"
        )
    machine, is_root = platform.machine(), os.geteuid() == 0
    if platform.system() != "Linux" or machine not in AUDIT_ARCH:
        return f"the sandbox needs Linux on {' or '.join(AUDIT_ARCH)}, got {platform.system()} on {machine}; move there"
    if level == "strong" and shutil.which("bwrap") is None:
        return "the sandbox needs bubblewrap, and bwrap is not on PATH: apt-get install bubblewrap"
    wanted = {"strong": ["setpriv"] if is_root else [], "strong-nobwrap": ["setpriv", "unshare"]}.get(level, [])
    for program in wanted:
        if shutil.which(program) is None:
            starter = "the sandbox, started by root," if level == "strong" else f"sandbox level {level}"
            return f"{starter} needs {program}, which is not on PATH: apt-get install util-linux"
    if level == "weak":
        return None
    if ctypes.CDLL(None).prctl(PR_GET_SECCOMP, 0, 0, 0, 0) < 0:
        return "the sandbox needs seccomp, which this kernel lacks: boot one that is built with CONFIG_SECCOMP_FILTER"
    if level != "strong" and landlock.abi() == 0:
        return (
            f"sandbox level {level} needs Landlock, which this kernel does not offer: boot Linux 5.13 or newer with "
            "landlock in its lsm= parameter, or start the container with --security-opt seccomp=unconfined"
        )
    return None


def remedy(level: Level) -> str:
    """What mostly helps where a level is there, and its probes fail."""
    if level == "external":
        return (
            "start the service at that address so that it runs each program as a user without rights, with its own "
            "files and processes and no network; docs/sandbox.md says what is asked of it"
        )
    if level in ("medium", "weak"):
        return (
            "start it as an ordinary user, or as root with the capabilities CHOWN, DAC_OVERRIDE, KILL, SETGID, SETUID"
        )
    for setting, shut, opened in (
        ("kernel/apparmor_restrict_unprivileged_userns", "1", "0"),
        ("kernel/unprivileged_userns_clone", "0", "1"),
        ("user/max_user_namespaces", "0", "10000"),
    ):
        if _setting(setting) == shut and os.geteuid() != 0:
            return f"allow user namespaces: sysctl -w {setting.replace('/', '.')}={opened}"
    if os.geteuid() == 0:
        return (
            "in a container, start it with --privileged, or with --cap-add SYS_ADMIN --security-opt seccomp=unconfined"
        )
    return (
        "in a container, start it with --security-opt seccomp=unconfined; else see that "
        f"{'bwrap --unshare-all' if level == 'strong' else 'unshare --user --map-root-user'} works"
    )


def _setting(name: str) -> str | None:
    try:
        with open(f"/proc/sys/{name}") as file:
            return file.read().strip()
    except OSError:
        return None
