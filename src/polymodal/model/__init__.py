"""The network, the trained model that is saved and loaded, and the one inference path."""
