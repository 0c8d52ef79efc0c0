"""The page's cards: one question each, answered in a sentence first. Functions of a readout, without state."""
