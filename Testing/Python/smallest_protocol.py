"""The settings of an experiment that takes seconds, as lines of a protocol."""

SMALLEST = """
training_settings = { steps = 2, batch_size = 2, features = [4, 4, 4, 4, 4] }
stack_settings = { size = [32, 32], spacing = 4.5 }
metrics = ["dice"]
"""
