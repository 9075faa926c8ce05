"""The HTML report of a run: charts and a gallery of rows."""
