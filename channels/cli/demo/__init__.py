"""The demonstration: the whole life of a channel, told in plain words on an embedded chain with recorded prices."""
