"""Many servers: the inputs of a map, and Dask."""
