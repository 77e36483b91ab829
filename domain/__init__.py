"""What a ticket is and what may happen to it: pure rules, without I/O, clock or chance."""
