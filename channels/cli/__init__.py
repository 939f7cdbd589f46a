"""For people: the `channels` command and what it prints."""
