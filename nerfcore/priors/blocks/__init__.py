"""Parts that priors are made of."""
