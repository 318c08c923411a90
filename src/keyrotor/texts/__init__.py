"""The texts of the files that `bootstrap` makes. Pure: facts in, a file's text out."""
