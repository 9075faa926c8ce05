"""Building blocks of networks, devices, precision and distributed processes (torch)."""
