"""Facial landmarks for refinery."""
