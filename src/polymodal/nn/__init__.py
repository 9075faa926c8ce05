"""Building blocks of networks, and where and how exactly they compute (torch)."""
