"""`python -m dcformat`: a .dcf as text, and back (tools/dctext.py)."""

from dcformat.tools.dctext import main

if __name__ == "__main__":
    main()
