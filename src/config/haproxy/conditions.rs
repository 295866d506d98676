//! `.if`, `.elif`, `.else`, `.endif`: which lines are there; `.notice`, `.warning`, `.alert`, `.diag`: what they say.
