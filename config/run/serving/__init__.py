"""Connect an HTTP server and Django: connections cost almost nothing, work is bounded, slow clients are cut off."""
