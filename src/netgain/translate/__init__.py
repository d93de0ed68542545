"""An adapter of model X becomes an adapter of model Y, without training Y on the adapter's own data."""
