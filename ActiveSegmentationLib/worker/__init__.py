"""The process behind Slicer: messages, the server that computes, and the client that the user interface talks to.

Nothing is imported here, so that the client costs the process with the user interface nothing.
"""
