"""What is minimised: weighted, scheduled terms over one View, and the chunked head."""
