"""The learned potential that ranks models of a loop, and the confidence in the best one."""
