"""A handler, the catalogue and the data service joined into one consumer."""
