"""`lenetlab ui` serves MLflow's pages to this machine alone, and ends with Ctrl-C."""

import contextlib
import signal
import socket
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from lenetlab.tracking import pages
from tests.tracking.forked import ForkedProcess
from tests.tracking.outputs import PNG
from tests.tracking.stores import runs_by_name

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # MLflow's own, of its dependencies
]


def descendants(process: int) -> set[int]:
    """Its children and theirs, and the process itself."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # the process has ended
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(") ")[2].split()[1])
    found = {process}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def listening(processes: set[int]) -> set[tuple[str, int]]:
    """Addresses and ports that accept connections; an IPv6 address in hexadecimal digits."""
    sockets = set()
    for process in processes:
        for descriptor in Path(f"/proc/{process}/fd").iterdir():
            with contextlib.suppress(OSError):
                sockets.add(str(descriptor.readlink()))
    found = set()
    for table in (path for path in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")) if path.exists()):
        for row in table.read_text().splitlines()[1:]:
            _, local, _, state, *rest = row.split()
            if state == "0A" and f"socket:[{rest[5]}]" in sockets:
                address, port = local.split(":")
                name = socket.inet_ntoa(bytes.fromhex(address)[::-1]) if len(address) == 8 else address
                found.add((name, int(port, 16)))
    return found


def test_the_pages_are_served_to_this_machine_alone_and_ctrl_c_ends_them(published_study):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with ForkedProcess(lambda: pages.ui(port), errors=published_study / "errors") as process:
        lines = (line.decode() for line in process.stdout)
        assert next(lines) == "MLflow is starting …\n"
        assert next(lines).startswith(f"http://127.0.0.1:{port}/#/experiments/1/runs?")
        run = runs_by_name(published_study)["mlp"].info.run_id
        artifact = f"http://127.0.0.1:{port}/get-artifact?run_uuid={run}&path=curves.png"
        assert urllib.request.urlopen(artifact, timeout=30).read() == PNG  # noqa: S310
        foreign = urllib.request.Request(artifact, headers={"Host": f"10.example.org:{port}"})  # noqa: S310
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(foreign, timeout=30)  # noqa: S310
        if Path("/proc/net/tcp").exists():
            assert listening(descendants(process.pid)) == {("127.0.0.1", port)}
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
        assert "Traceback" not in (published_study / "errors").read_text()
    assert not pages.accepts_connections(port), "the server is still there"
