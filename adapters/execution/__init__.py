"""Where the commands of an attempt are run: a port, and providers of such places."""
