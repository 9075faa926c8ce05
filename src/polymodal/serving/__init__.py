"""The server of a trained model, and its page."""
