    select user_id, host from held_targets
