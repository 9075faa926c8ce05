"""Why a model answered as it did: the streams, and the parts of a cell, that decided a row."""
