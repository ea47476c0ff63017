"""One thin file for each command: read the options, call the library once, print."""
