"""Methods: which parameters learn. One file a method, named after its `kind`."""
