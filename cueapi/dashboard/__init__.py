"""
Pages for people, below `/ui`: whether the agents did their work, and what to do where they did not.

A page is a GET whose URL holds all of its state. Its handler finds the session (`sessions.require`), reads one read
model of `storage/dashboard`, and renders a template. An action is the POST of a form: the handler checks the session,
the origin and the form's token (`sessions.require_post`), hands the action to the contract (`contract.call`, in the
process: the same checks, limits and wake-ups as for a program), and leads back by 303 with a notice. What the contract
refuses is answered with the form itself, as it was filled in.

Pages can be read and used without JavaScript. Text is never markup: templates escape everything.
"""
