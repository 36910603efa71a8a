#!/usr/bin/env python3
"""Run a command with no network but loopback: ``python scripts/loopback_only.py COMMAND [ARGUMENT …]``. Needs Linux, nothing else."""

import ctypes
import fcntl
import os
import socket
import struct
import sys
from pathlib import Path

NEW_NETWORK, NEW_USERS = 0x40000000, 0x10000000
SIOCSIFFLAGS, IFF_UP = 0x8914, 0x1
HELP = """session-db: this needs a network namespace of its own, and cannot have one: {}.
As root it needs the capability SYS_ADMIN (in a container: --cap-add SYS_ADMIN), else user namespaces for everybody
(sysctl kernel.unprivileged_userns_clone=1, and where there is AppArmor kernel.apparmor_restrict_unprivileged_userns=0)."""


def leave_the_network() -> None:
    """Move this process into a network namespace whose only interface is loopback, and raise that."""
    user, group = os.geteuid(), os.getegid()
    # Root stays among all users: what it starts may have to become another one.
    unshare(NEW_NETWORK if user == 0 else NEW_NETWORK | NEW_USERS)
    if user != 0:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    with socket.socket() as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", IFF_UP))


def unshare(namespaces: int) -> None:
    # Python has it as os.unshare since 3.12.
    if ctypes.CDLL(None, use_errno=True).unshare(namespaces) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def main(command: list[str]) -> None:
    if not command:
        sys.exit(__doc__)
    try:
        leave_the_network()
    except OSError as error:
        sys.exit(HELP.format(error.strerror))
    os.execvp(command[0], command)  # noqa: S606  it is what this is for


main(sys.argv[1:])
