"""
What a request's body may hold, one noun a module.

The body that creates a cue is `Open`: unknown keys are kept, to be named in its warning. All others are `Closed`:
unknown keys are refused. The body of a PATCH is derived from the body that creates (`bodies.patch_of`).
"""
