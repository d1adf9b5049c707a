"""Code that goes on with half-trained runs of an earlier version of a method, as they began.

A method's `as_of` leads here (`specs/base.py`); nothing new is trained with it.
"""
