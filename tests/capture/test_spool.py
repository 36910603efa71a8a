"""The hook script and the spool: whole files, in order, private, and nothing that an agent notices."""

import os
import stat
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from session_db.capture import hook
from session_db.capture.spool import Spool, SpoolState
from session_db.errors import InvalidInput

SCRIPT = Path(hook.__file__)


def run_hook(directory: Path, payload: bytes, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-I", "-S", SCRIPT, directory], input=payload, env=environment, capture_output=True, check=False, timeout=20
    )


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "spool")


class TestHook:
    @pytest.mark.parametrize(
        "payload", [b'{"session_id": "a"}', b"", b"\x00\xff\n\n", b"x" * 10_000_000], ids=["json", "empty", "bytes", "10 MB"]
    )
    def test_the_payload_is_kept_byte_for_byte(self, spool: Spool, payload: bytes) -> None:
        done = run_hook(spool.directory, payload)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
        (name,) = spool.names()
        assert spool.read(name).payload == payload

    def test_whose_it_is_is_kept_and_nothing_else_of_the_environment(self, spool: Spool) -> None:
        run_hook(spool.directory, b"{}", SESSION_DB_SESSION="2026-01-15_é\n=x", CLAUDE_PID="9", ANTHROPIC_API_KEY="sk-secret")
        (name,) = spool.names()
        captured = spool.read(name)
        assert captured.environment == {"SESSION_DB_SESSION": "2026-01-15_é\n=x", "CLAUDE_PID": "9"}
        assert captured.host == os.uname().nodename

    def test_nobody_else_can_read_it(self, spool: Spool) -> None:
        run_hook(spool.directory, b"{}")
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in spool.directory.rglob("*")}
        assert set(modes.values()) == {0o700, 0o600}
        assert stat.S_IMODE(spool.directory.stat().st_mode) == 0o700

    def test_beside_the_recorder_of_the_sdk_it_does_nothing(self, spool: Spool) -> None:
        assert run_hook(spool.directory, b"{}", SESSION_DB_RECORDER="1").returncode == 0
        assert not spool.directory.exists()

    def test_a_recorder_that_is_unset_by_an_empty_variable_is_none(self, spool: Spool) -> None:
        run_hook(spool.directory, b"{}", SESSION_DB_RECORDER="")
        assert len(list(spool.names())) == 1

    @pytest.mark.parametrize("directory", ["/proc/nowhere", "/dev/null/spool", "\0"])
    def test_an_agent_notices_nothing_where_it_cannot_be_written(self, directory: str) -> None:
        code = f"import os, runpy, sys; sys.argv[1:] = [{directory!r}]; runpy.run_path({str(SCRIPT)!r}, run_name='__main__')"
        done = subprocess.run([sys.executable, "-c", code], input=b"{}", capture_output=True, check=False, timeout=20)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")

    def test_a_full_disk_leaves_nothing_half_written(self, spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*_: object) -> int:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("session_db.capture.hook.system.write", full)
        with pytest.raises(OSError, match="No space"):
            hook.write(str(spool.directory), b"{}", {}, "host")
        assert [path for path in spool.directory.rglob("*") if path.is_file()] == []

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a file system")
    def test_where_the_disk_is_full_the_agent_goes_on_and_what_fits_again_is_kept(self, spool: Spool) -> None:
        spool.directory.mkdir()
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", spool.directory], capture_output=True, check=False)
        if mounted.returncode:
            pytest.skip("this root may not mount")
        try:
            for _ in range(2):
                done = run_hook(spool.directory, b"x" * 3_000_000)
                assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
            assert [path for path in spool.directory.rglob("*") if path.is_file()] == []
            run_hook(spool.directory, b"{}")
            assert len(list(spool.names())) == 1
        finally:
            subprocess.run(["umount", "--lazy", spool.directory], check=True)

    def test_killed_at_any_moment_it_leaves_no_half_file(self, spool: Spool) -> None:
        payload = b"x" * 20_000_000
        for milliseconds in range(0, 60, 4):
            process = subprocess.Popen([sys.executable, "-I", "-S", SCRIPT, spool.directory], stdin=subprocess.PIPE)
            assert process.stdin is not None
            with suppress(BrokenPipeError):
                process.stdin.write(payload)
                process.stdin.close()
            time.sleep(milliseconds / 1000)
            process.kill()
            process.wait()
        for name in spool.names():
            assert spool.read(name).payload == payload

    @pytest.mark.parametrize("arguments", [[], [""], ["a b\n\u00e9"]], ids=["none", "empty", "odd"])
    def test_it_is_silent_whatever_it_is_given(self, tmp_path: Path, arguments: list[str]) -> None:
        gone = tmp_path / "gone"
        gone.mkdir()
        command = f'cd "$1" && rmdir "$1" && shift && exec "$@" {"<&-" if not arguments else ""}'
        environment = {"PYTHONPATH": "/nowhere", "PYTHONSTARTUP": "/nowhere", "PYTHONHOME": "/nowhere", "PYTHONDEBUG": "9"}
        full = [str(tmp_path / argument) if argument else argument for argument in arguments]
        done = subprocess.run(
            ["/bin/sh", "-c", command, "sh", gone, sys.executable, "-I", "-S", SCRIPT, *full],
            input=b"{}", env=environment, capture_output=True, check=False, timeout=20,
        )  # fmt: skip
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
        if full and full[0]:
            assert len(list(Spool(Path(full[0])).names())) == 1


class TestSpool:
    def test_what_was_captured_first_comes_first(self, spool: Spool) -> None:
        put = [spool.put(str(number).encode(), {}, "host") for number in range(20)]
        assert list(spool.names()) == put

    def test_an_earlier_start_of_the_machine_comes_first_though_its_clock_ran_longer(self, spool: Spool) -> None:
        spool.put(b"", {}, "host")
        names = ["ffffffff-00000000009999999999-00000000000000000001-7", "eeeeeeee-00000000000000000001-00000000000000000002-7"]
        for name in names:
            (spool.directory / "new" / name).write_bytes(b"captured_at=1\nhost=h\n\n{}")
        assert list(spool.names())[:2] == names

    def test_nothing_waits_where_there_is_no_spool(self, spool: Spool) -> None:
        assert list(spool.names()) == []
        assert spool.state() == SpoolState(waiting=0, oldest=None, bad=0)

    @pytest.mark.parametrize(
        "content", [b"", b"\n\n", b"captured_at=x\nhost=h\n\n{}", b"captured_at=1\n\n{}", b"captured_at=1\nhost=h\n", b"\xff\n\n"]
    )
    def test_a_file_of_somebody_else_is_refused(self, spool: Spool, content: bytes) -> None:
        name = spool.put(b"{}", {}, "host")
        (spool.directory / "new" / name).write_bytes(content)
        with pytest.raises(InvalidInput):
            spool.read(name)

    @pytest.mark.parametrize("name", ["x" * 255, "é" * 127])
    def test_a_file_with_the_longest_name_is_set_aside_with_its_reason(self, spool: Spool, name: str) -> None:
        spool.put(b"{}", {}, "host")
        (spool.directory / "new" / name).touch()
        spool.set_aside(name, "it is none.")
        assert (spool.directory / "bad" / name).exists()
        assert [path.read_text() for path in (spool.directory / "bad").glob("*.reason")] == ["it is none.\n"]
        assert spool.state().bad == 1

    def test_what_a_killed_writer_left_goes_after_a_day(self, spool: Spool) -> None:
        spool.put(b"{}", {}, "host")
        old, fresh = spool.directory / "tmp" / "old", spool.directory / "tmp" / "fresh"
        for path in (old, fresh):
            path.write_bytes(b"half")
        os.utime(old, (0, 0))
        spool.sweep()
        assert (old.exists(), fresh.exists(), len(list(spool.names()))) == (False, True, 1)

    def test_what_is_set_aside_is_kept_with_its_reason(self, spool: Spool) -> None:
        name = spool.put(b"\xff", {}, "host")
        spool.set_aside(name, "it is no JSON \ud800")
        state = spool.state()
        assert (state.waiting, state.bad) == (0, 1)
        assert (spool.directory / "bad" / f"{name}.reason").read_text() == "it is no JSON \\ud800\n"
        assert (spool.directory / "bad" / name).read_bytes().endswith(b"\xff")
