"""What was asked, said once for all runs that asked it: LEDGER/prompts/<digest>.parquet, named by its content.

A record names the digest of each of its tasks, so the texts are sealed with the run and cost nothing a run.
"""

import hashlib
import json
from collections.abc import Mapping

import pyarrow as pa
import pyarrow.parquet as pq

from netgain.ledger.files import write_bytes
from netgain.ledger.store import Corrupt, Ledger

SCHEMA = pa.schema([pa.field("item", pa.string(), nullable=False), pa.field("prompt", pa.string(), nullable=False)])


def digest_of(texts: Mapping[str, str]) -> str:
    """The first 32 hexadecimal digits of the sha256 of the sorted (item, prompt) pairs."""
    canonical = json.dumps(sorted(texts.items()), ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:32]


def write(ledger: Ledger, texts: Mapping[str, str]) -> str:
    """Keep the prompts of a task's items; their digest."""
    digest = digest_of(texts)
    path = ledger.root / "prompts" / f"{digest}.parquet"
    if not path.exists():
        pairs = sorted(texts.items())
        made = pa.table([[item for item, _ in pairs], [prompt for _, prompt in pairs]], schema=SCHEMA)
        sink = pa.BufferOutputStream()
        pq.write_table(made, sink, compression="zstd")
        write_bytes(path, sink.getvalue().to_pybytes())
    return digest


def read(ledger: Ledger, digest: str) -> dict[str, str]:
    """item -> what was asked; refuses a file that is not the one that was written."""
    path = ledger.root / "prompts" / f"{digest}.parquet"
    if not path.exists():
        raise Corrupt(f"{path}: missing; measure one of its runs again with --redo.")
    try:
        found = pq.read_table(path, schema=SCHEMA)
    except (pa.ArrowException, OSError):
        raise Corrupt(f"{path}: damaged; delete it and measure one of its runs again with --redo.") from None
    texts = dict(zip(found["item"].to_pylist(), found["prompt"].to_pylist(), strict=True))
    if digest_of(texts) != digest:
        raise Corrupt(f"{path}: damaged; delete it and measure one of its runs again with --redo.")
    return texts
