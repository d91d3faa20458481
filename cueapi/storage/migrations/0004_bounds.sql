-- A task stands in an index, whose rows are bounded; what is longer is no task that a worker could be asked for.
update cues set task = null where length(task) > 255;

-- The other daemons of a rolling deploy look at overdue outcomes without this index, until they are replaced.
-- Only what an outcome may still come of: else what has ended without one would be looked at for as long as it is kept.
drop index executions_open;
create index executions_open on executions (outcome_deadline_at)
    where outcome_deadline_at is not null and (outcome_attempt is null or outcome_attempt < attempts)
      and status in ('success', 'delivering');
