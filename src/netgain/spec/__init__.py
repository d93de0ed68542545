"""What was asked: studies, runs, their identity and their named random streams."""
