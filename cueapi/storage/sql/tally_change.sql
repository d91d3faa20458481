-- An outcome has come to be a failure, or no longer is one: its tally moves by 1, or by -1.
    insert into tallies (user_id, bucket, status, count, unsuccessful)
    select user_id, five_minutes(finished_at), status, 0, change
      from moved
     where change <> 0
       and (select count(*) from locked) is not null
        on conflict (user_id, bucket, status) do update set unsuccessful = tallies.unsuccessful + excluded.unsuccessful
 returning 1
