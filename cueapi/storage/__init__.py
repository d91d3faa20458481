"""
The only SQL. PostgreSQL is the truth; everything else in the process is a hint.

One module per aggregate, a statement above its only function; what is longer than 30 lines is a file of sql/ with named
parameters. Rows leave as typed values: each row class stands beside its statement and declares its columns.

* **The database says no.** States, ranges and shapes are columns with CHECKs (migrations/). A value that a constraint
  refuses is Unstorable; `quarantine` ends a cue or an execution that no statement can work with.
* **Errors of PostgreSQL** mean what their SQLSTATE says (`sqlstate`): not to be stored, or to be waited for; the rest
  are bugs.
* **Races are settled in the statements**: `skip locked`, `on conflict`, and fences. An execution is written only upon
  its claim, attempt, status and last report as they were read; a poll moves a cue only upon its revision. Changes of a
  cue wait for each other: its row is locked, decided upon, and written in one transaction.
* **Locks**: a statement that writes several cues locks them in the order of their ids, users and months likewise. A
  single statement that ends in a deadlock is sent again, and so are the transactions of transitions, of evidence and
  verdicts, and of changes.
  The rollup `tallies` is written behind executions, cues and users, and before the gates of alerts and mails.
* **Leases**: a daemon's claims are in the outbox, and lost when the advisory lock of its number is free. One that holds
  it keeps them also where a lease has ended, since PostgreSQL's clock may have jumped, for as long as it shows beats.
  A worker's are in the execution, and lost when it is silent.
* **Time** is PostgreSQL's (`clock`). What was written later than now was written by a clock that was ahead, and is put
  right (`written_ahead`); what was planned with another tzdata is planned anew (`zone_changes`).
"""
