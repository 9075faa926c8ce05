"""``python -m polymodal`` is the command line."""

from polymodal.cli.main import main

if __name__ == "__main__":
    main()
