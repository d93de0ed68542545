"""A study on a Ray cluster leaves the ledger that it leaves here, though nodes die under it."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harm import items, same

ray = pytest.importorskip("ray")
from ray.cluster_utils import Cluster  # noqa: E402

pytestmark = pytest.mark.chaos

STUDY = Path(__file__).parents[2] / "studies" / "distillation_lambda.yaml"


def netgain(*arguments: str | Path, address: str | None = None) -> subprocess.Popen[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **({"RAY_ADDRESS": address} if address else {})}
    command = [sys.executable, "-m", "netgain", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)


def ended(process: subprocess.Popen[str]) -> str:
    said, _ = process.communicate(timeout=600)
    assert process.returncode == 0, said[-3000:]
    return said


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    ledger = tmp_path_factory.mktemp("local")
    ended(netgain("run", STUDY, "--scale", "tiny", "--ledger", ledger, "--pack", "off"))
    return ledger


@pytest.fixture
def cluster() -> Iterator[Any]:
    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    for _ in range(2):
        made.add_node(num_cpus=1)
    made.wait_for_nodes()
    yield made
    made.shutdown()


def test_a_node_that_dies_costs_time_and_nothing_else(local: Path, cluster: Any, tmp_path: Path) -> None:
    process = netgain(
        "run", STUDY, "--scale", "tiny", "--ledger", tmp_path, "--on", "ray", "--pack", "2", address=cluster.address
    )
    deadline = time.monotonic() + 120
    while not list((tmp_path / "runs").glob("*/checkpoint")) and not list((tmp_path / "runs").glob("*/record.json")):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.2)
    cluster.remove_node(sorted(cluster.worker_nodes, key=str)[0], allow_graceful=False)
    ended(process)
    same(tmp_path, local)


def test_a_driver_that_dies_is_started_again(local: Path, cluster: Any, tmp_path: Path) -> None:
    arguments = ("run", STUDY, "--scale", "tiny", "--ledger", tmp_path, "--on", "ray")
    process = netgain(*arguments, address=cluster.address)
    deadline = time.monotonic() + 120
    while not list((tmp_path / "runs").glob("*/spec.json")):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    process.kill()
    process.communicate()
    ended(netgain(*arguments, address=cluster.address))
    same(tmp_path, local)


def test_nodes_without_a_shared_folder_send_their_runs_home(local: Path, cluster: Any, tmp_path: Path) -> None:
    mirror = f"file://{tmp_path}/mirror"
    ended(netgain("run", STUDY, "--scale", "tiny", "--ledger", tmp_path / "home", "--on", "ray", "--mirror", mirror,
                  address=cluster.address))  # fmt: skip
    same(tmp_path / "home", local)
    assert len(list((tmp_path / "mirror" / "runs").glob("*/record.json"))) == len(items(local))


def test_jobs_of_a_queue_do_what_one_process_does(local: Path, tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    ended(netgain("run", STUDY, "--scale", "tiny", "--ledger", tmp_path, "--on", "slurm-local"))
    same(tmp_path, local)
