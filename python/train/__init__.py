"""The synthetic world that glimpse-mini was trained on: pictures, questions and exact answers from a seed."""
