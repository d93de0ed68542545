"""Workers on a Ray cluster, a bundle a task. What a lost node was doing, Ray hands to another, which goes on from the
ledger's checkpoint."""

import logging
import os
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from netgain.errors import UserError
from netgain.execute.cluster import POLL_SECONDS, TRIES, Bundle, perform
from netgain.spec.run import Runtime


class RayPool:
    """The cluster at `address` (`ray://HOST:PORT`), the one that RAY_ADDRESS names, or one started on this machine."""

    def __init__(self, address: str | None, runtime: Runtime) -> None:
        # A task without a GPU must not hide the driver's: Ray asks for this choice, and warns while it is not made.
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        try:
            import ray
        except ImportError as error:
            raise UserError("--on ray needs Ray: pip install 'netgain[ray]'.") from error
        self.ray = ray
        self.mine = not ray.is_initialized()
        if self.mine:
            try:
                ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
            except (ConnectionError, RuntimeError, ValueError) as error:
                raise UserError(f"--on ray: no cluster answers at {address or 'RAY_ADDRESS'}: {error}") from error
        self.threads = runtime.threads or 1
        has = ray.cluster_resources()
        self.gpus = 1 if has.get("GPU", 0) >= 1 and runtime.device in ("auto", "cuda") else 0
        self.task = ray.remote(perform).options(
            num_cpus=self.threads, num_gpus=self.gpus, max_retries=TRIES, scheduling_strategy="SPREAD"
        )

    def slots(self) -> int:
        """Bundles that the cluster's GPUs hold, or its cores where there is none."""
        has = self.ray.cluster_resources()
        return max(1, int(has.get("GPU", 0) if self.gpus else has.get("CPU", 1) // self.threads))

    def submit(self, bundles: Sequence[Bundle]) -> list[Any]:
        """One task a bundle, with as many threads as cores asked for."""
        own = {"threads": self.threads}
        return [self.task.remote(replace(each, runtime=each.runtime.model_copy(update=own))) for each in bundles]

    def ended(self, handles: Collection[Any]) -> list[tuple[Any, str]]:
        """Tasks that are over, waiting for the first of them for a moment."""
        pending = list(handles)
        over, _ = self.ray.wait(pending, num_returns=len(pending), timeout=POLL_SECONDS)
        return [(handle, self._outcome(handle)) for handle in over]

    def _outcome(self, handle: Any) -> str:
        from ray.exceptions import RayError, RayTaskError

        try:
            return self.ray.get(handle)
        except RayTaskError as error:
            return f"a worker stopped: {str(error.cause).strip().splitlines()[0]}"
        except RayError as error:
            first = str(error).strip().splitlines()[0]
            return f"a worker was lost {TRIES + 1} times ({first}); run the same command to continue."

    def cancel(self, handle: Any) -> None:
        """Kill the task's worker."""
        self.ray.cancel(handle, force=True)

    def close(self) -> None:
        """Leave the cluster; one that this process started ends."""
        if self.mine:
            self.ray.shutdown()
