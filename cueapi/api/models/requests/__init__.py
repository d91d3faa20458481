"""
What a request's body may hold, one noun a module.

Bodies that create are `Open`: unknown keys are kept, to be named in a warning. Bodies that change are `Closed`: unknown
keys are refused. The body of a PATCH is derived from the body that creates (`bodies.patch_of`).
"""
