"""A page, and everything that it asked for or complained about."""

from pathlib import Path

from playwright.sync_api import BrowserContext, Page


class Watched:
    """Opens files; `requests` and `complaints` hold what a silent page leaves empty."""

    def __init__(self, context: BrowserContext) -> None:
        self.page: Page = context.new_page()
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: self.complaints.append(f"dialog: {dialog.message}"))

    def open(self, file: Path) -> Page:
        self.page.goto(file.as_uri())
        return self.page
