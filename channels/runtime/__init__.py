"""The only room where trio lives: nodes, connections, the watcher, clocks and keys."""
