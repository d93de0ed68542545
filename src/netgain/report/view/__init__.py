"""The local page on a ledger at work: reads files, writes none, and needs neither torch nor a front-end build."""
