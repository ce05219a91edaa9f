"""The stages of a run: each lays out its stores, does units in any order, and says when all are done."""
