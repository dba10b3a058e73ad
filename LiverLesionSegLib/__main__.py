"""`python -m LiverLesionSegLib` is the command line."""

import sys

if __name__ == "__main__":
    try:
        from .cli import main
    except KeyboardInterrupt:  # so early that nothing has begun
        sys.exit(130)
    sys.exit(main())
