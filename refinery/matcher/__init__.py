"""How the matcher of the label checks is made: scenes whose motion is known, a network, its training and its export."""
