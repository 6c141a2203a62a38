"""What the functions on arrays and those on tensors share: arguments written out, and the call.

Nothing here knows tensors, and importing it loads none of the public functions.
"""
