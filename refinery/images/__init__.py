"""Image files: pixels as they are displayed, everything else kept as it was, or left out because it became false."""
