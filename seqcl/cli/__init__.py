"""The command line: a thin shell over the library. Imports click, rich and the standard library."""
