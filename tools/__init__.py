"""The commands: dcconvert and dcverify."""
