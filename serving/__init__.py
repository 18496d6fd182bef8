"""Everything between the network and the page: limits, refusals, health, logs and metrics."""
