"""Parts of networks that fields and priors share. They are compositions of torch operations, and need no kernel."""
