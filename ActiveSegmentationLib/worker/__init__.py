"""The worker process of the Slicer module: protocol, server, jobs, and the client in Slicer.

Nothing is imported here, so that importing the client in Slicer is cheap.
"""
