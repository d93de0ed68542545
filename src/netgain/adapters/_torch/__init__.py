"""What attached methods are made of: the modules that need torch, so that the methods themselves do not."""
