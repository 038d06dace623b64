"""Which images of a dataset are pictures to refine, and which are maps (depth, masks, normals, flow) to carry.

`rules.py` decides, for a reason that is printed. It is told what the names say (`sensor_words.py`) and what the files
look like (`appearance.py`), about families of images that are named alike (`family.py`); `choice.py` holds what
the user says.
"""
