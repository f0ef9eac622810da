"""A seccomp filter made by hand: the system calls that no honest snippet needs give EPERM.

`build_filter(machine)` returns classic BPF for `bwrap --seccomp FD` or launcher.py. A call made through a foreign ABI
(32-bit on x86-64, x32) kills the process. clone3 gives ENOSYS, because its flags are out of the filter's sight: C
libraries then use clone, whose namespace flags are refused. A program that dies with its parent may not change that.
Source of the layout: linux/filter.h, linux/seccomp.h, linux/audit.h.
"""

import errno
import struct
from collections.abc import Mapping

AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
X32_BIT = 0x40000000
NEW_NAMESPACE_FLAGS = 0x7E020000
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET."""
TIOCSTI, TIOCLINUX = 0x5412, 0x541C
FS_IOC_SETFLAGS, FS_IOC_FSSETXATTR = 0x40086602, 0x401C5820
IOCTLS = [TIOCSTI, TIOCLINUX, FS_IOC_SETFLAGS, FS_IOC_FSSETXATTR]
F_SETOWN, F_SETOWN_EX = 8, 15
PR_SET_PDEATHSIG = 1

Calls = Mapping[str, tuple[int | None, int | None]]
"""name: (x86_64, aarch64); None where the architecture lacks the call."""
DENIED: Calls = {
    "socket": (41, 198),
    "socketpair": (53, 199),
    "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "bpf": (321, 280),
    "userfaultfd": (323, 282),
    "perf_event_open": (298, 241),
    "add_key": (248, 217),
    "request_key": (249, 218),
    "keyctl": (250, 219),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "process_madvise": (440, 440),
    "kcmp": (312, 272),
    "pidfd_getfd": (438, 438),
    "move_pages": (279, 239),
    "migrate_pages": (256, 238),
    "mbind": (237, 235),
    "set_mempolicy": (238, 237),
    "mount": (165, 40),
    "umount2": (166, 39),
    "pivot_root": (155, 41),
    "chroot": (161, 51),
    "move_mount": (429, 429),
    "open_tree": (428, 428),
    "fsopen": (430, 430),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fspick": (433, 433),
    "mount_setattr": (442, 442),
    "open_tree_attr": (467, 467),
    "statmount": (457, 457),
    "listmount": (458, 458),
    "setns": (308, 268),
    "unshare": (272, 97),
    "open_by_handle_at": (304, 265),
    "name_to_handle_at": (303, 264),
    "init_module": (175, 105),
    "finit_module": (313, 273),
    "delete_module": (176, 106),
    "kexec_load": (246, 104),
    "kexec_file_load": (320, 294),
    "reboot": (169, 142),
    "swapon": (167, 224),
    "swapoff": (168, 225),
    "syslog": (103, 116),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "acct": (163, 89),
    "settimeofday": (164, 170),
    "clock_settime": (227, 112),
    "clock_adjtime": (305, 266),
    "adjtimex": (159, 171),
    "sethostname": (170, 161),
    "setdomainname": (171, 162),
    "personality": (135, 92),
    "vhangup": (153, 58),
    "lookup_dcookie": (212, 18),
    "nfsservctl": (180, 42),
    "fanotify_init": (300, 262),
    "fanotify_mark": (301, 263),
    "memfd_create": (319, 279),
    "memfd_secret": (447, 447),
    "shmget": (29, 194),
    "shmat": (30, 196),
    "shmctl": (31, 195),
    "msgget": (68, 186),
    "msgsnd": (69, 189),
    "msgrcv": (70, 188),
    "msgctl": (71, 187),
    "semget": (64, 190),
    "semop": (65, 193),
    "semctl": (66, 191),
    "semtimedop": (220, 192),
    "mq_open": (240, 180),
    "mq_unlink": (241, 181),
    "vmsplice": (278, 75),
    "modify_ldt": (154, None),
    "ioperm": (173, None),
    "iopl": (172, None),
    "uselib": (134, None),
    "ustat": (136, None),
    "sysfs": (139, None),
    "_sysctl": (156, None),
}
# What bubblewrap's own root and process namespace make harmless, and Landlock lets through: changes to files and
# processes of whoever has the same uid.
DENIED_ON_HOST: Calls = {
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "chown": (92, None),
    "lchown": (94, None),
    "fchown": (93, 55),
    "fchownat": (260, 54),
    "getxattr": (191, 8),
    "lgetxattr": (192, 9),
    "getxattrat": (464, 464),
    "listxattr": (194, 11),
    "llistxattr": (195, 12),
    "listxattrat": (465, 465),
    "utime": (132, None),
    "utimes": (235, None),
    "futimesat": (261, None),
    "utimensat": (280, 88),
    "setxattr": (188, 5),
    "lsetxattr": (189, 6),
    "fsetxattr": (190, 7),
    "removexattr": (197, 14),
    "lremovexattr": (198, 15),
    "fremovexattr": (199, 16),
    "setxattrat": (463, 463),
    "removexattrat": (466, 466),
    "file_setattr": (469, 469),
    "truncate": (76, 45),
    "inotify_add_watch": (254, 27),
    "setpriority": (141, 140),
    "ioprio_set": (251, 30),
    "sched_setaffinity": (203, 122),
    "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119),
    "sched_setattr": (314, 274),
}
# Refused beside those where Landlock does not keep signals inside.
SIGNALS: Calls = {
    "kill": (62, 129),
    "tkill": (200, 130),
    "tgkill": (234, 131),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "pidfd_send_signal": (424, 424),
}
CLONE, CLONE3, IOCTL, PRCTL = (56, 220), (435, 435), (16, 29), (157, 167)
PRLIMIT64, FCNTL = (302, 261), (72, 25)

_LOAD, _JUMP_EQUAL, _JUMP_GREATER_EQUAL, _JUMP_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCH, _ARGUMENT_0, _ARGUMENT_1 = 0, 4, 16, 24  # offsets in struct seccomp_data; low words, little-endian
_KILL_PROCESS, _ALLOW, _ERRNO = 0x80000000, 0x7FFF0000, 0x00050000


def denied_numbers(machine: str, table: Calls = DENIED) -> dict[str, int]:
    """The refused system calls of an architecture, by name."""
    column = list(AUDIT_ARCH).index(machine)
    columns = {name: numbers[column] for name, numbers in table.items()}
    return {name: number for name, number in columns.items() if number is not None}


def build_filter(machine: str, *, on_host: bool = False, are_signals_scoped: bool = True) -> bytes:
    """The BPF program; `on_host`: for a program that shares files and processes with the rest of the machine.

    Raises KeyError for an architecture without a table.
    """
    if machine not in AUDIT_ARCH:
        raise KeyError(machine)
    column = list(AUDIT_ARCH).index(machine)
    code = [
        _op(_LOAD, _ARCH),
        _op(_JUMP_EQUAL, AUDIT_ARCH[machine], 1, 0),
        _op(_RETURN, _KILL_PROCESS),
        _op(_LOAD, _NUMBER),
    ]
    if machine == "x86_64":
        code += [_op(_JUMP_GREATER_EQUAL, X32_BIT, 0, 1), _op(_RETURN, _KILL_PROCESS)]
    tables = [DENIED, *([DENIED_ON_HOST] if on_host else []), *([] if are_signals_scoped else [SIGNALS])]
    for table in tables:
        for number in denied_numbers(machine, table).values():
            code += _when(number, [_op(_RETURN, _ERRNO | errno.EPERM)])
    code += _when(CLONE3[column], [_op(_RETURN, _ERRNO | errno.ENOSYS)])
    code += _when(CLONE[column], _refuse_bits(_ARGUMENT_0, NEW_NAMESPACE_FLAGS))
    code += _when(IOCTL[column], _refuse_values(_ARGUMENT_1, IOCTLS))
    code += _when(PRCTL[column], _refuse_values(_ARGUMENT_0, [PR_SET_PDEATHSIG]))
    if on_host:
        code += _when(PRLIMIT64[column], _refuse_all_but(_ARGUMENT_0, 0))
    if not are_signals_scoped:
        code += _when(FCNTL[column], _refuse_values(_ARGUMENT_1, [F_SETOWN, F_SETOWN_EX]))
    return b"".join([*code, _op(_RETURN, _ALLOW)])


def _op(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    """One struct sock_filter."""
    return struct.pack("<HBBI", code, if_true, if_false, value)


def _when(number: int, then: list[bytes]) -> list[bytes]:
    """`then`, which must end in a return, only for one system call."""
    return [_op(_JUMP_EQUAL, number, 0, len(then)), *then]


def _refuse_bits(argument: int, bits: int) -> list[bytes]:
    return [
        _op(_LOAD, argument),
        _op(_JUMP_ANY_BIT, bits, 0, 1),
        _op(_RETURN, _ERRNO | errno.EPERM),
        _op(_RETURN, _ALLOW),
    ]


def _refuse_values(argument: int, values: list[int]) -> list[bytes]:
    code = [_op(_LOAD, argument)]
    for value in values:
        code += [_op(_JUMP_EQUAL, value, 0, 1), _op(_RETURN, _ERRNO | errno.EPERM)]
    return [*code, _op(_RETURN, _ALLOW)]


def _refuse_all_but(argument: int, value: int) -> list[bytes]:
    return [
        _op(_LOAD, argument),
        _op(_JUMP_EQUAL, value, 1, 0),
        _op(_RETURN, _ERRNO | errno.EPERM),
        _op(_RETURN, _ALLOW),
    ]
