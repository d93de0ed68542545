"""Pictures of studies' reports for the documentation: each made afresh from its ledger, verified, and opened.

    python tools/screenshots.py LEDGER[:STUDY] ... --out docs/images

Writes STUDY.png (1440 px, light), STUDY-dark.png and STUDY-narrow.png (390 px) of the top of each report, and every
figure of it as STUDY/NAME.svg. Needs `netgain[browser]` and Chromium.
"""

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from netgain.errors import UserError
from netgain.ledger.files import write_bytes
from netgain.report.beside import side
from netgain.report.figures import write_figures
from netgain.report.html.page import render
from netgain.report.verify import verify

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CHROMIUM = os.environ.get("NETGAIN_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
Scheme = Literal["light", "dark"]
SHOTS: dict[str, tuple[int, int, Scheme]] = {
    "": (1440, 2000, "light"),
    "-dark": (1440, 2000, "dark"),
    "-narrow": (390, 2000, "light"),
}


def picture(browser: "Browser", file: Path, out: Path, name: str) -> list[Path]:
    """The top of a report, wide, dark and narrow; a page that complains or asks for anything is refused."""
    paths: list[Path] = []
    for suffix, (width, height, scheme) in SHOTS.items():
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        page = context.new_page()
        said: list[str] = []
        page.on("console", lambda message, said=said: said.append(message.text))
        page.on("pageerror", lambda error, said=said: said.append(str(error)))
        page.on("request", lambda request, said=said: said.append(request.url))
        page.goto(file.as_uri())
        if said != [file.as_uri()]:
            raise UserError(f"{name}: the report is not silent: {said}.")
        paths.append(out / f"{name}{suffix}.png")
        page.screenshot(path=paths[-1])
        context.close()
    return paths


def main() -> None:
    """Pictures of every named study."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("ledgers", nargs="+", metavar="LEDGER[:STUDY]")
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as play, tempfile.TemporaryDirectory() as folder:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for name in asked.ledgers:
            which = side(name)
            key = which.report.study.key
            made = render(which.report, which.frame.ledger)
            file = Path(folder) / f"{key}.html"
            write_bytes(file, made.html.encode())
            found = verify(file, which.frame.ledger.root)
            if found.problems:
                raise UserError(found.sentence())
            write_figures(made.figures, asked.out / key, ["svg"])
            for path in picture(browser, file, asked.out, key):
                print(path)
        browser.close()


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        print(f"screenshots: {error}", file=sys.stderr)
        sys.exit(2)
