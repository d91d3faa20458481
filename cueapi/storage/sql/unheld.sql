-- What no hold stops.
               (forced or user_id <> all (select user_id from stopped_users))
           and (forced or not deferred or user_id <> all (select user_id from held_users))
