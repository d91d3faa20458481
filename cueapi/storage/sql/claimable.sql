-- What waits, and has a place.
           claimed_by is null
           and waits_until is null
           and ready_at <= now()
           and host <> all (select host from busy_hosts where busy >= :per_host)
           and user_id <> all (select user_id from busy_users where busy >= :per_user)
           and
-- include: unheld
           and (:only::uuid is null or execution_id = :only)
