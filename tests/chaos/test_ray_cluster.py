"""A study on a Ray cluster leaves the ledger that it leaves here, though nodes die under it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from harm import contents, fault, items, same

ray = pytest.importorskip("ray")
from ray.cluster_utils import Cluster  # noqa: E402

pytestmark = pytest.mark.chaos

DISTILLATION = Path(__file__).parents[2] / "studies" / "distillation_lambda.yaml"


def netgain(*arguments: str | Path, address: str | None = None) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **({"RAY_ADDRESS": address} if address else {})}
    command = [sys.executable, "-m", "netgain", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)


def ended(process: subprocess.Popen[str]) -> str:
    said, _ = process.communicate(timeout=600)
    assert process.returncode == 0, said[-3000:]
    return said


@contextmanager
def nodes(count: int) -> Iterator[Any]:
    """A cluster of so many nodes, its head among them; without a dashboard, which takes longest to start."""
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    for _ in range(count - 1):
        made.add_node(num_cpus=1)
    made.wait_for_nodes()
    yield made
    made.shutdown()


@pytest.fixture
def cluster() -> Iterator[Any]:
    with nodes(3) as made:
        yield made


def test_a_node_that_dies_costs_time_and_nothing_else(cluster: Any, tmp_path: Path) -> None:
    local, spread = tmp_path / "local", tmp_path / "spread"
    study = ("run", DISTILLATION, "--scale", "tiny")
    with fault("a node of a cluster that dies"):
        process = netgain(*study, "--ledger", spread, "--on", "ray", "--pack", "2", address=cluster.address)
        until(lambda: [*spread.glob("runs/*/checkpoint"), *spread.glob("runs/*/record.json")], process)
        cluster.remove_node(sorted(cluster.worker_nodes, key=str)[0], allow_graceful=False)
        ended(process)
        ended(netgain(*study, "--ledger", local, "--pack", "off"))
        same(spread, local)


def until(seen: Callable[[], object], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 300
    while not seen():
        assert time.monotonic() < deadline
        assert process.poll() is None, ended(process)
        time.sleep(0.05)


def test_a_driver_that_dies_is_started_again(study: Path, whole: Path, cluster: Any, tmp_path: Path) -> None:
    arguments = ("run", study, "--ledger", tmp_path, "--on", "ray")
    with fault("a driver of a cluster that dies"):
        process = netgain(*arguments, address=cluster.address)
        until(lambda: list(tmp_path.glob("runs/*/spec.json")), process)
        process.kill()
        process.communicate()
        ended(netgain(*arguments, address=cluster.address))
        same(tmp_path, whole)


def test_two_launchers_and_a_node_that_dies_do_every_run_once(
    study: Path, whole: Path, cluster: Any, tmp_path: Path
) -> None:
    with fault("launchers at once on a cluster whose node dies"):
        pair = [netgain("run", study, "--ledger", tmp_path, "--on", "ray", address=cluster.address) for _ in range(2)]
        until(lambda: list(tmp_path.glob("runs/*/metrics.jsonl")), pair[0])
        cluster.remove_node(sorted(cluster.worker_nodes, key=str)[0], allow_graceful=False)
        for process in pair:
            ended(process)
        same(tmp_path, whole)


def test_a_head_that_dies_is_started_again(
    study: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray ends all that belonged to it; the same command on a new head goes on."""
    monkeypatch.setenv("RAY_gcs_rpc_server_reconnect_timeout_s", "5")
    arguments = ("run", study, "--ledger", tmp_path, "--on", "ray", "--pack", "off")
    with fault("a head of a cluster that dies"):
        with nodes(2) as made:
            process = netgain(*arguments, address=made.address)
            until(lambda: list(tmp_path.glob("runs/*/metrics.jsonl")), process)
            made.remove_node(made.head_node, allow_graceful=False)
            process.communicate(timeout=300)
            assert process.returncode != 0
        finished = {path: path.stat().st_mtime_ns for path in tmp_path.glob("runs/*/record.json")}
        with nodes(2) as made:
            ended(netgain(*arguments, address=made.address))
        same(tmp_path, whole)
        assert finished == {path: path.stat().st_mtime_ns for path in finished}


def test_a_worker_that_hangs_is_replaced_and_writes_nothing_more(
    study: Path, whole: Path, cluster: Any, tmp_path: Path
) -> None:
    with fault("a worker of a cluster that hangs"):
        process = netgain("run", study, "--ledger", tmp_path, "--on", "ray", "--silence", "20", address=cluster.address)
        until(lambda: list(tmp_path.glob("runs/*/metrics.jsonl")), process)
        at_work = next(iter(tmp_path.glob("runs/*/metrics.jsonl"))).parent.name
        worker = int((tmp_path / "locks" / at_work).read_text().split()[1])
        os.kill(worker, signal.SIGSTOP)
        ended(process)
        same(tmp_path, whole)
        left = contents(tmp_path)
        with suppress(ProcessLookupError):  # Ray may have ended it
            os.kill(worker, signal.SIGCONT)
        time.sleep(5)
        assert contents(tmp_path) == left


def test_nodes_without_a_shared_folder_send_their_runs_home(
    study: Path, whole: Path, cluster: Any, tmp_path: Path
) -> None:
    mirror = f"file://{tmp_path}/mirror"
    with fault("workers without a shared folder"):
        ended(netgain("run", study, "--ledger", tmp_path / "home", "--on", "ray", "--mirror", mirror,
                      address=cluster.address))  # fmt: skip
        same(tmp_path / "home", whole)
        assert len(list((tmp_path / "mirror" / "runs").glob("*/record.json"))) == len(items(whole))


def test_jobs_of_a_queue_do_what_one_process_does(study: Path, whole: Path, tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    with fault("jobs of a queue"):
        ended(netgain("run", study, "--ledger", tmp_path, "--on", "slurm-local"))
        same(tmp_path, whole)
