"""The guard: fails when a call takes 20 % more instructions than recorded, or 20 % fewer."""
