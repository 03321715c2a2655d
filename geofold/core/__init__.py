"""The streaming controller: predict, evaluate, correct, commit. It depends on no molecule and no maze."""
