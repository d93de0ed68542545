"""Base models: loading, hidden states without the head, generation and label scoring."""
