"""`python -m shipworthy`, for those who start Python themselves, as torchrun does."""

from shipworthy.cli.main import main

if __name__ == "__main__":
    main()
