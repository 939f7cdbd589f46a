"""What happens: the pure state machine of a channel. It holds no key, keeps no clock and does nothing by itself."""
