"""The loop model: increments that lead a bent loop back."""
