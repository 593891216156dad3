"""Between an HTTP server and Django: connections cost nothing, work in progress is bounded, slow clients are cut off."""
