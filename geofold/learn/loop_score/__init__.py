"""The learned potential that ranks loops."""
