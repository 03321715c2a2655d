"""The controller: predict, judge, correct, commit. It knows no molecule and no maze."""
