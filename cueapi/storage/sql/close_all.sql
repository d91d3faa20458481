-- Closes every target.
with locked as materialized (
    select user_id, host, state
      from targets
     where state <> 'closed'
     order by user_id, host
       for no key update
-- include: close_locked
