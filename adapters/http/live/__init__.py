"""The live stream: what happens to tickets, told to everybody who listens, as it happens."""
