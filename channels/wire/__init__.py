"""How it is said: numbered messages, canonical msgpack, length-prefixed frames. The only room that knows msgpack."""
