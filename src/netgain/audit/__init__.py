"""A linter for experimental results: rules with stable codes over ledgers, tables and documents."""
