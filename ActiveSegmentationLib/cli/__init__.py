"""The command line: words in, calls of the loop and of experiments, words out."""
