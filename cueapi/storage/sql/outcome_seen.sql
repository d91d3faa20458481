-- Of an execution, what was changed upon the state that was :seen; `change` is by how much fewer or more are unsuccessful.
     where e.id = :execution
       and e.user_id = :user
       and e.outcome_state is not distinct from :seen
 returning e.id, e.user_id, e.cue_id, e.outcome_state, e.status, e.finished_at,
           unsuccessful(e.status, e.attempts, e.outcome_attempt, e.outcome_state)
               - unsuccessful(e.status, e.attempts, e.outcome_attempt, :seen) as change
