"""
A PostgreSQL server for one program, from the binaries of a wheel. Knows nothing of the product.

`server` opens it for the length of a block, `postmaster` starts, adopts and stops the process, `cluster` makes its
files, `binaries` finds the programs and the account that runs them, `data_dir` locks the directory, and `errors` draws
what can go wrong.
"""
