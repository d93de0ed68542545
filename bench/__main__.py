"""`python -m bench`: every speed claim that this machine can check, one script after the other."""

import subprocess
import sys
import time
from pathlib import Path

CLAIMS = ("loop.py", "sweep.py", "generation.py", "items.py", "translate.py", "diversity.py")


def main() -> None:
    folder = Path(__file__).parent
    failed = []
    for name in CLAIMS:
        print(f"\n== {name}", flush=True)
        start = time.monotonic()
        code = subprocess.run([sys.executable, str(folder / name)], check=False).returncode
        print(f"{name}: {time.monotonic() - start:.0f} s", flush=True)
        failed += [name] if code else []
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
